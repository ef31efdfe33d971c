"""PASCAL VOC 2012 with SBD's label maps: python scripts/prepare_voc_aug.py VOCdevkit/VOC2012 benchmark_RELEASE/dataset

The first folder is VOC's (VOCtrainval_11-May-2012.tar), the second that of the Semantic Boundaries Dataset
(benchmark.tgz), with cls/*.mat, train.txt and val.txt. Into VOC's, it writes what `--dataset voc2012_aug` reads, as
mmsegmentation's tools/convert_datasets/voc_aug.py does: SegmentationClassAug/*.png, and the lists aug.txt, of SBD's
pictures that are not VOC's to train or validate on, and trainaug.txt, with VOC's to train on. A run that was stopped is
continued by the same command.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from convert.atomic import whole_file  # noqa: E402
from convert.exit_code import exit_code  # noqa: E402
from convert.progress import progress_bar  # noqa: E402

FOLDER, CLASSES = "SegmentationClassAug", 21


def main() -> int:
    return exit_code("prepare_voc_aug", partial(run, _parser().parse_args()), "stopped: the same command continues")


def run(options: argparse.Namespace) -> None:
    """Convert the label maps, then write the lists, and say what there is."""
    lists = options.voc / "ImageSets" / "Segmentation"
    train, val = (names_in(lists / f"{part}.txt") for part in ("train", "val"))
    sbd = sorted({*names_in(options.sbd / "train.txt"), *names_in(options.sbd / "val.txt")})
    aug = [name for name in sbd if name not in {*train, *val}]
    trainaug = sorted({*train, *sbd} - set(val))
    (options.voc / FOLDER).mkdir(exist_ok=True)
    with progress_bar(len(sbd), "converting") as bar:
        for name in sbd:
            convert(options.sbd / "cls" / f"{name}.mat", options.voc / FOLDER / f"{name}.png")
            bar()
    for part, names in (("aug", aug), ("trainaug", trainaug)):
        with whole_file(lists / f"{part}.txt") as draft:
            draft.write_text("".join(f"{name}\n" for name in names))
    print(f"{len(sbd)} label maps in {options.voc / FOLDER}; {len(aug)} pictures beside VOC's {len(train)} to train on")


def convert(source: Path, target: Path) -> None:
    """A MATLAB file's GTcls.Segmentation as a grey PNG file, unless it is there. Raises ValueError, naming the file."""
    if target.is_file():
        return
    if not source.is_file():
        raise ValueError(f"there is no {source}, which a list of SBD names")
    try:
        labels = loadmat(source, squeeze_me=True, struct_as_record=False)["GTcls"].Segmentation
    except Exception as error:  # SciPy's reader raises almost anything for a damaged file
        raise ValueError(f"{source} is no label map of SBD, or cut off: {error}") from None
    if labels.ndim != 2 or labels.max() >= CLASSES:
        raise ValueError(f"{source} is no label map of VOC's {CLASSES} classes")
    with whole_file(target) as draft:
        Image.fromarray(labels.astype(np.uint8)).save(draft, "PNG")


def names_in(file: Path) -> list[str]:
    """The names in a list, one a line. Raises ValueError if it is missing."""
    if not file.is_file():
        raise ValueError(f"there is no {file}")
    return file.read_text().split()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("voc", type=Path, help="VOC's folder, VOCdevkit/VOC2012")
    parser.add_argument("sbd", type=Path, help="SBD's folder, benchmark_RELEASE/dataset")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Unpack and verify COCO panoptic: python scripts/prepare_coco_panoptic.py DOWNLOADS [--output datasets]

DOWNLOADS holds train2017.zip and val2017.zip (http://images.cocodataset.org/zips, 19 GB) and
panoptic_annotations_trainval2017.zip (http://images.cocodataset.org/annotations, 0.8 GB); for box and mask AP
annotations_trainval2017.zip too (0.3 GB), from there. DIR/coco_panoptic appears when it is whole; a run that was
stopped is continued by the same command. With --validation, train2017.zip need not be there.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from convert.exit_code import exit_code  # noqa: E402
from ms_seg.data.archives import Part, Split, prepare  # noqa: E402
from ms_seg.data.coco.annotations import PARTS  # noqa: E402
from ms_seg.data.coco.instance import open_coco_instance  # noqa: E402
from ms_seg.data.coco.panoptic import open_coco_panoptic  # noqa: E402

DATASET = "coco_panoptic"
SEGMENTS, INSTANCES = "panoptic_annotations_trainval2017.zip", "annotations_trainval2017.zip"
COUNTS = {"train2017": 118_287, "val2017": 5000}
MAX_JSON_BYTES = 2 << 30  # bytes; the largest published one has half a gigabyte


def main() -> int:
    stopped = "stopped: the same command continues"
    return exit_code("prepare_coco_panoptic", partial(run, _parser().parse_args()), stopped)


def run(options: argparse.Namespace) -> None:
    """Unpack, verify, and say what there is."""
    counts = {split: count for split, count in COUNTS.items() if split == "val2017" or not options.validation}
    with_instances = any(INSTANCES in (path.name, *_names(path)) for path in options.archives)
    files = [_json(SEGMENTS, f"panoptic_{split}.json") for split in counts]
    if with_instances:
        files += [_json(INSTANCES, f"instances_{split}.json") for split in counts]

    def check(folder: Path) -> None:
        for name, part in PARTS.items():
            if part in counts:
                open_coco_panoptic(folder, name)
                if with_instances:
                    open_coco_instance(folder, name)

    print(prepare(splits(counts), options.archives, options.output / DATASET, files, check))


def splits(counts: dict[str, int]) -> list[Split]:
    """Where the published archives hold pictures and panoptic maps; the maps are archives in an archive."""
    return [
        Split(
            Part(f"{split}.zip", split, split, ".jpg", count),
            Part(
                SEGMENTS, f"panoptic_{split}", f"annotations/panoptic_{split}", ".png", count,
                inside=f"annotations/panoptic_{split}.zip",
            ),
        )
        for split, count in counts.items()
    ]  # fmt: skip


def _json(archive: str, name: str) -> Part:
    return Part(archive, "annotations", "annotations", name, 1, max_size=MAX_JSON_BYTES)


def _names(path: Path) -> list[str]:
    return [file.name for file in path.iterdir()] if path.is_dir() else []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archives", nargs="+", type=Path, help="the archives, or the folder that they lie in")
    parser.add_argument("--output", type=Path, default=Path("datasets"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--validation", action="store_true", help="the validation pictures alone, for evaluation")
    return parser


if __name__ == "__main__":
    sys.exit(main())

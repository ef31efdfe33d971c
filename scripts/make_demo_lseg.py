"""Trains the demo's LSeg on phrases of the drawn world, measures it on pairs of words it never saw, embeds it.

    python scripts/make_demo_lseg.py RUN [--output ms_seg/assets]

RUN is the folder of an ordinary training, which goes on if it was stopped. Written are lseg_tiny_shapes.ckpt, in half
precision, and lseg_tiny_shapes.json, which says how it was made and what it reaches. Exits with 1 below the bar.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import mindspore as ms
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import ms_seg
from convert import open_checkpoint
from convert.atomic import whole_file
from convert.reading.entry import ArrayEntry
from convert.writing import write_checkpoint
from ms_seg.data.phrases import unseen_phrases
from ms_seg.data.semantic import DrawnWorld, open_dataset
from ms_seg.evaluation.semantic import ConfusionMatrix
from ms_seg.inference.words import by_names

ROOT = Path(__file__).resolve().parents[1]
MODEL = "lseg_tiny_shapes"
DATASETS = ("shapes_coloured", "shapes_patterned", "shapes")
BAR = 0.6  # mIoU over the colours and shapes that training never shows together, each told from all other phrases


def train(run: Path) -> float:
    """Minutes that the training took; what was done before a stop is not among them."""
    command = [sys.executable, "-m", "ms_seg", "train", "--model", MODEL, "--output", str(run.resolve())]
    command += [part for name in DATASETS for part in ("--dataset", name)]
    command += ["--resume"] if (run / "options.json").is_file() else []
    started = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True)
    return (time.monotonic() - started) / 60


def embed(trained: Path, target: Path) -> None:
    """The same checkpoint in half the bytes."""
    with open_checkpoint(trained) as tensors:
        halves = {name: ArrayEntry(entry.numpy().astype(np.float16)) for name, entry in tensors.items()}
        write_checkpoint(target, halves, metadata=tensors.metadata)


def measure(checkpoint: Path) -> dict[str, float]:
    """mIoU over phrases of colours, by whether training shows them, and over the grounds, on held-out pictures."""
    scenes = open_dataset(DATASETS[0], None, "validation", words=True)
    assert isinstance(scenes, DrawnWorld)
    segment = by_names(ms_seg.Segmenter(ms_seg.create_model(MODEL, checkpoint)), scenes.label_set)
    matrix = ConfusionMatrix(len(scenes.label_set))
    for index in range(len(scenes)):
        matrix.update(segment(scenes.picture(index)).label_map, scenes.labels(index))
    unseen = set(unseen_phrases("colour"))
    kinds = np.array(
        ["unseen" if name in unseen else "seen" if " " in name else "ground" for name in scenes.label_set.names]
    )
    return {kind: round(float(np.nanmean(matrix.per_class_iou[kinds == kind])), 4) for kind in np.unique(kinds)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--output", type=Path, default=ROOT / "ms_seg" / "assets", metavar="DIR")
    options = parser.parse_args()
    minutes = train(options.run)
    newest = max((options.run / "checkpoints").glob("[0-9]*"))
    target = options.output / f"{MODEL}.ckpt"
    embed(newest / "model.ckpt", target)
    reached = measure(target)
    record = {
        "made_by": f"scripts/{Path(__file__).name}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "mindspore": ms.__version__,
        "machine": platform.machine(),
        "datasets": DATASETS,
        "steps": int(newest.name),
        "minutes": round(minutes, 1),
        "mIoU": reached,
    }
    with whole_file(options.output / f"{MODEL}.json") as draft:
        draft.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB; mIoU {reached}, the bar is {BAR} on unseen")
    return 0 if reached["unseen"] >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())

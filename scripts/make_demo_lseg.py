"""Trains the demo's LSeg on phrases of the drawn world, measures it on pairs of words it never saw, embeds it.

    python scripts/make_demo_lseg.py RUN [--output ms_seg/assets]

RUN is the folder of an ordinary training, which goes on if it was stopped. Written are lseg_tiny_shapes.ckpt, in half
precision, and lseg_tiny_shapes.json, which says how it was made and what it reaches. Exits with 1 below the bar. From
nothing, on two idle cores, in 17 minutes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from demo_model import ASSETS, embed, train, write_record

import ms_seg
from ms_seg.data.datasets import open_dataset
from ms_seg.data.drawn.phrases import unseen_phrases
from ms_seg.data.drawn.world import DrawnWorld
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix

MODEL = "lseg_tiny_shapes"
DATASETS = ("shapes_coloured", "shapes_patterned", "shapes")
BAR = 0.6  # mIoU over the colours and shapes that training never shows together, each told from all other phrases


def measure(checkpoint: Path) -> dict[str, float]:
    """mIoU over phrases of colours, by whether training shows them, and over the grounds, on held-out pictures."""
    scenes = open_dataset(DATASETS[0], None, "validation").in_words()
    assert isinstance(scenes, DrawnWorld)
    _, segment = ms_seg.Segmenter(ms_seg.create_model(MODEL, checkpoint)).for_dataset(scenes)
    matrix = ConfusionMatrix(len(scenes.label_set))
    for index in range(len(scenes)):
        matrix.update(segment(scenes.picture(index)).label_map, scenes.label_map(index))
    unseen = set(unseen_phrases("colour"))
    kinds = np.array(
        ["unseen" if name in unseen else "seen" if " " in name else "ground" for name in scenes.label_set.names]
    )
    return {kind: round(float(np.nanmean(matrix.per_class_iou[kinds == kind])), 4) for kind in np.unique(kinds)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--output", type=Path, default=ASSETS, metavar="DIR")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    record = train(MODEL, DATASETS, options.run)
    target = options.output / f"{MODEL}.ckpt"
    embed(options.run, target)
    reached = measure(target)
    write_record(options.output / f"{MODEL}.json", {**record, "mIoU": reached})
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB; mIoU {reached}, the bar is {BAR} on unseen")
    return 0 if reached["unseen"] >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())

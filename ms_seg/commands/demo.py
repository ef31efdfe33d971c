"""`demo`: embedded checkpoints and pictures: a model of PyTorch's, compared with its logits, one that is asked by
words, and one that tells things from stuff.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import ms_seg
from ms_seg.commands.device import add_device, add_mode, set_up_device
from ms_seg.data.drawn.phrases import unseen_phrases
from ms_seg.data.drawn.world import DrawnWorld
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix
from ms_seg.label_sets import read_labels
from ms_seg.presets import ASSETS, find_preset

if TYPE_CHECKING:
    from ms_seg.inference import Segmenter

MODEL = "segformer_tiny_shapes"
PICTURES = ("shapes_1", "shapes_2")
WORDS_MODEL, WORDS_PICTURE = "lseg_tiny_shapes", "shapes_1"
WORDS = "red circle,white circle,black circle,purple triangle,red square,orange ring,pink ring,black cross,grass,sand"
PANOPTIC_MODEL, PANOPTIC_PICTURE = "mask2former_tiny_shapes", "shapes_1"
HELD_OUT, HELD_OUT_SIZE = 60, (192, 256)
MAX_ERROR = 1e-4  # relative, for "the same model"


def add(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--output", metavar="DIR", default="demo", help="where to write (default: %(default)s)")
    parser.add_argument(
        "--labels", metavar="A,B,...", default=WORDS,
        help="what to look for in a picture by words, of colours or patterns, forms and grounds (default: %(default)s)",
    )  # fmt: skip
    add_device(parser)
    add_mode(parser)


def run(options: argparse.Namespace) -> int:
    """Print mIoU against the truth and the error against PyTorch; 1 if that is above MAX_ERROR."""
    set_up_device(options.device, options.full_float32)
    folder, checkpoint = Path(options.output), ASSETS / f"{MODEL}.pth"
    print(f"{checkpoint.name}: a PyTorch file of {checkpoint.stat().st_size / 1e6:.1f} MB, converted without PyTorch")
    segmenter = ms_seg.Segmenter(ms_seg.create_model(MODEL, checkpoint), options.mode)
    matrix = ConfusionMatrix(len(read_labels("shapes")))
    errors = []
    with np.load(ASSETS / f"{MODEL}.logits.npz") as of_pytorch:
        for name in PICTURES:
            answer = segmenter(ASSETS / f"{name}.png")
            matrix.update(answer.label_map, np.array(Image.open(ASSETS / f"{name}.truth.png")))
            errors.append(relative_error(segmenter.predict(answer.picture).logits().values, of_pytorch[name]))
            overlay, *_ = answer.save(folder)
            print(f"{name}.png: {', '.join(answer.labels)} -> {overlay}")
    of_the_two = matrix.miou
    _add_held_out(matrix, segmenter)
    print(
        f"mIoU against the truth: {matrix.miou:.3f} on {HELD_OUT + 2} held-out pictures ({of_the_two:.3f} on these two)"
    )
    print(f"||ours - PyTorch's|| / ||PyTorch's||, of the logits: {max(errors):.1e} (at most {MAX_ERROR:.0e})")
    if max(errors) > MAX_ERROR:
        print("this is not the model that PyTorch ran", file=sys.stderr)
        return 1
    _segment_by_words(options, folder)
    _segment_things_and_stuff(options, folder)
    return 0


def _segment_by_words(options: argparse.Namespace, folder: Path) -> None:
    """What the words of a person are in a picture, some of them perhaps words that training never showed together."""
    checkpoint = find_preset(WORDS_MODEL).embedded
    segmenter = ms_seg.Segmenter(ms_seg.create_model(WORDS_MODEL, checkpoint), options.mode)
    answer = segmenter(ASSETS / f"{WORDS_PICTURE}.png", labels=options.labels.split(","))
    overlay, *_ = answer.save(folder, f"{WORDS_PICTURE}.words")
    unseen = {*unseen_phrases("colour"), *unseen_phrases("pattern")}
    found = (f"{label} (never seen together)" if label in unseen else label for label in answer.labels)
    print(f"{WORDS_PICTURE}.png by words: {', '.join(found)} -> {overlay}")


def _segment_things_and_stuff(options: argparse.Namespace, folder: Path) -> None:
    """A picture every pixel of which belongs to one thing, or to a kind of stuff."""
    checkpoint = find_preset(PANOPTIC_MODEL).embedded
    segmenter = ms_seg.Segmenter(ms_seg.create_model(PANOPTIC_MODEL, checkpoint), options.mode)
    answer = segmenter(ASSETS / f"{PANOPTIC_PICTURE}.png")
    overlay, *_ = answer.save(folder, f"{PANOPTIC_PICTURE}.panoptic")
    found = (f"{count} {name}" if count > 1 else name for name, count in Counter(answer.labels).items())
    print(f"{PANOPTIC_PICTURE}.png, things and stuff: {', '.join(found)} -> {overlay}")


def _add_held_out(matrix: ConfusionMatrix, segmenter: Segmenter) -> None:
    """Count scenes of the drawn world that no training has seen, drawn now, of a size that is compiled already."""
    scenes = DrawnWorld("validation", size=HELD_OUT_SIZE)
    for index in range(HELD_OUT):
        matrix.update(segmenter(scenes.picture(index)).label_map, scenes.label_map(index))


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Frobenius norm of the difference over that of the reference, in float64; inf for another number of values."""
    if ours.size != theirs.size:
        return float("inf")
    reference = theirs.astype(np.float64).ravel()
    return float(np.linalg.norm(ours.ravel() - reference) / np.linalg.norm(reference))

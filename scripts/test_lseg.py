"""Test LSeg as the original does, at six sizes, mirrored, in windows of 480, with the arguments of lang-seg's test:

python scripts/test_lseg.py --backbone clip_vitl16_384 --eval --weights demo_e200.ckpt --widehead --no-scaleinv

scores the validation split of ADE20K in --data-path. Without --eval its predictions are written as pictures. With
--label_src plant,grass,cat,stone,other the --pictures are segmented by these words, and drawn with a legend.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import ms_seg  # noqa: E402
from convert.progress import progress_bar  # noqa: E402
from ms_seg.commands.device import add_device, add_mode, set_up_device  # noqa: E402
from ms_seg.commands.segment import find_pictures, output_stems  # noqa: E402
from ms_seg.data.labels import LabelSet  # noqa: E402
from ms_seg.data.picture import read_picture  # noqa: E402
from ms_seg.data.semantic import SemanticDataset, open_dataset  # noqa: E402
from ms_seg.distributed import World  # noqa: E402
from ms_seg.evaluation.evaluator import evaluate  # noqa: E402
from ms_seg.evaluation.predictions import ModelPredictions, Remembered  # noqa: E402
from ms_seg.evaluation.semantic import ConfusionMatrix  # noqa: E402
from ms_seg.inference import Answer  # noqa: E402
from ms_seg.inference.multi_eval import CITYSCAPES_SCALES, MultiEval  # noqa: E402

MODELS = {
    "clip_vitl16_384": "lseg_vitl16_ade20k",
    "clip_vitb32_384": "lseg_vitb32_ade20k",
    "clipRN50x16_vitl16_384": "lseg_rn50x16_vitl16_ade20k",
}
HEAD_BLOCKS = ("none", "bottleneck", "depthwise")  # by --arch_option
WORDS_OF_A_DATASET = "default"  # of --label_src
OUTPUT = Path("outdir_ours")  # where the original writes
LOGS = Path("logs")

# The original takes these too; what they say does not reach its figures.
_SWITCHES = (
    "--aux", "--se-loss", "--no-cuda", "--test-val", "--no-val", "--no-scaleinv", "--widehead", "--widehead_hr",
    "--no-strict",
)  # fmt: skip
_VALUES = (
    "--model", "--workers", "--base-size", "--crop-size", "--train-split", "--se-weight", "--batch-size",
    "--test-batch-size", "--seed", "--module", "--ignore_index",
)  # fmt: skip

Segment = Callable[[np.ndarray], Answer]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    os.environ.setdefault("GLOG_v", "3")  # of MindSpore's own log, errors alone; set before it is imported
    try:
        return run(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"test_lseg: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def run(options: argparse.Namespace) -> int:
    """Load the model, then do what the options ask for."""
    if options.weights is None:
        raise ValueError("there are no weights to test: pass their file as --weights")
    if options.backbone not in MODELS:
        raise ValueError(f"no LSeg model has the backbone {options.backbone!r}: choose from {', '.join(MODELS)}")
    if options.label_src != WORDS_OF_A_DATASET:
        pictures = find_pictures(options.pictures)
        return draw(_segment(options, options.label_src.split(",")), pictures)
    dataset = open_dataset(options.dataset, options.data_path, "validation", words=True)
    segment = _segment(options, dataset.label_set.names)
    return score(segment, dataset, options) if options.eval else draw_all(segment, dataset)


def draw(segment: Segment, pictures: Sequence[Path]) -> int:
    """Every picture under the colours of its words with a legend, its label map and its segments."""
    with progress_bar(len(pictures), "segmenting", log="ms_seg") as bar:
        for path, stem in output_stems(pictures).items():
            overlay, *_ = segment(read_picture(path)).save(OUTPUT, stem)
            bar.note(f"{path} -> {overlay}")
            bar()
    return 0


def score(segment: Segment, dataset: SemanticDataset, options: argparse.Namespace) -> int:
    """Print pixAcc and mIoU, and log them with each class's IoU."""
    matrix = evaluate(dataset, Remembered(ModelPredictions(segment, dataset)), World(0, 1, [])).matrix
    accuracy, ious = figures(matrix)
    print(f"pixAcc: {accuracy:.4f}, mIoU: {ious.mean():.4f}")
    print(ious)
    LOGS.mkdir(exist_ok=True)
    with (LOGS / f"log_test_{options.jobname}_{options.dataset}.txt").open("a") as log:
        log.write(f"dataset {options.dataset} ==> pixAcc: {accuracy:.4f}, mIoU: {ious.mean():.4f}\n")
        log.write("".join(f"{iou:.4f}, " for iou in ious) + "\n")
    return 0


def figures(matrix: ConfusionMatrix) -> tuple[float, np.ndarray]:
    """pixAcc, and each class's IoU as PyTorch-Encoding's SegmentationMetric has it: 0 for one that is nowhere."""
    return matrix.aacc, np.nan_to_num(matrix.per_class_iou)


def draw_all(segment: Segment, dataset: SemanticDataset) -> int:
    """The label map of each picture of a dataset, as `python -m ms_seg evaluate --predictions` reads them."""
    predictions = ModelPredictions(segment, dataset, OUTPUT)
    with progress_bar(len(dataset), "segmenting", log="ms_seg") as bar:
        for index in range(len(dataset)):
            predictions.label_map(index)
            bar()
    print(f"{len(dataset)} label maps in {OUTPUT}")
    return 0


def palette(count: int) -> np.ndarray:
    """The colours of the original's figures, those of PASCAL VOC: (count, 3) uint8, the first one black."""
    index = np.arange(count)
    colours = np.zeros((count, 3), np.uint8)
    for channel in range(3):
        for bit in range(8):
            colours[:, channel] |= ((index >> 3 * bit + channel & 1) << 7 - bit).astype(np.uint8)
    return colours


def _segment(options: argparse.Namespace, labels: Sequence[str]) -> Segment:
    set_up_device(options.device)
    model = ms_seg.create_model(
        MODELS[options.backbone],
        options.weights,
        head_block=HEAD_BLOCKS[options.arch_option],
        block_depth=max(options.block_depth, 1),  # the original's 0 is once, too
        activation=options.activation,
    )
    segmenter = ms_seg.Segmenter(model, options.mode, vocab=options.vocab)
    if options.label_src == WORDS_OF_A_DATASET:  # in lang-seg's list for ADE20K "screen" stands twice
        words, names = segmenter.check_labels(tuple(dict.fromkeys(labels))), tuple(labels)
    else:
        words = names = segmenter.check_labels(labels)
    of_name = [words.index(name) for name in names]
    citys = options.dataset == "citys"
    look = MultiEval(2048, 768, CITYSCAPES_SCALES) if citys else MultiEval()
    label_set = LabelSet(names, palette(len(names)))

    def segment(picture: np.ndarray) -> Answer:
        image = ((picture.astype(np.float32) / 255 - 0.5) / 0.5).transpose(2, 0, 1)
        total = look(np.ascontiguousarray(image), partial(segmenter.run, words=words))[of_name]
        labels = total.argmax(axis=0).astype(np.int32)
        return Answer(picture, labels, label_set, _probabilities(total, labels), model.preset.name)

    return segment


def _probabilities(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(K,) of 0..1: the mean softmax of each label over the pixels it was chosen for, of logits summed over scales."""
    sums, areas = np.zeros(len(logits)), np.bincount(labels.ravel(), minlength=len(logits))
    for row, chosen in zip(logits.transpose(1, 2, 0), labels, strict=True):  # (W, K), (W,)
        probabilities = 1 / np.exp(row - np.take_along_axis(row, chosen[:, None], 1)).sum(axis=1)
        sums += np.bincount(chosen, probabilities, len(logits))
    return sums / np.maximum(areas, 1)


def _parser() -> argparse.ArgumentParser:
    about, _, epilog = __doc__.split("\n\n")
    parser = argparse.ArgumentParser(description=about.rstrip(":"), epilog=epilog)
    add = parser.add_argument
    add("--backbone", default="clip_vitl16_384", metavar="NAME", help=", ".join(MODELS))
    add("--weights", metavar="FILE", help="the checkpoint, as published or converted")
    add("--eval", action="store_true", help="score a dataset")
    add("--dataset", default="ade20k", metavar="NAME", help="(default: %(default)s)")
    add("--data-path", default="../datasets/", metavar="DIR", help="where it lies (default: %(default)s)")
    add("--label_src", default=WORDS_OF_A_DATASET, metavar="A,B,C", help="words to segment --pictures by")
    add("--pictures", nargs="+", default=["inputs/cat1.jpeg"], metavar="FILE", help="(default: the original's)")
    add("--jobname", default="default", help="a name for the log (default: %(default)s)")
    add("--arch_option", type=int, choices=range(3), default=0, help="spatial regularisation: 0 none, 1 bottleneck, 2")
    add("--block_depth", type=int, default=0, metavar="N", help="how often it is applied")
    add("--activation", choices=("lrelu", "tanh", "relu"), default="lrelu", help="between two of its blocks")
    add("--vocab", metavar="FILE", help="CLIP's vocabulary, where it is not found by itself")
    add_device(parser)
    add_mode(parser)
    unused = parser.add_argument_group("taken as the original takes them; the figures do not depend on them")
    for name in _SWITCHES:
        unused.add_argument(name, action="store_true")
    for name in _VALUES:
        unused.add_argument(name, metavar="X")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Test LSeg as the original does, at six sizes, mirrored, in windows of 480, with the arguments of lang-seg's test:

python scripts/test_lseg.py --backbone clip_vitl16_384 --eval --weights demo_e200.ckpt --widehead --no-scaleinv

scores the validation split of ADE20K in --data-path. Without --eval its predictions are written as pictures. With
--label_src plant,grass,cat,stone,other the --pictures are segmented by these words, and drawn with a legend.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from lang_seg import MODELS, add_head, add_unused, find_model, head_fields  # noqa: E402

import ms_seg  # noqa: E402
from convert.exit_code import exit_code  # noqa: E402
from convert.progress import progress_bar  # noqa: E402
from ms_seg.answers import Answer  # noqa: E402
from ms_seg.commands.device import add_device, add_mode, set_up_device  # noqa: E402
from ms_seg.commands.segment import find_pictures, output_stems  # noqa: E402
from ms_seg.data.augmentation.lang_seg import normalise  # noqa: E402
from ms_seg.data.datasets import open_dataset  # noqa: E402
from ms_seg.data.picture import read_picture  # noqa: E402
from ms_seg.data.preprocessing import Geometry  # noqa: E402
from ms_seg.data.semantic import SemanticDataset  # noqa: E402
from ms_seg.distributed import World  # noqa: E402
from ms_seg.evaluation.evaluator import evaluate  # noqa: E402
from ms_seg.evaluation.predictions import CachedPredictions  # noqa: E402
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix  # noqa: E402
from ms_seg.evaluation.semantic.predictions import ModelLabelMaps  # noqa: E402
from ms_seg.evaluation.semantic.tally import SemanticTally  # noqa: E402
from ms_seg.inference.multi_eval import CITYSCAPES_SCALES, MultiEval  # noqa: E402
from ms_seg.label_sets import LabelSet  # noqa: E402
from ms_seg.postprocessing.logits import Logits, label_pixels  # noqa: E402

WORDS_OF_A_DATASET = "default"  # of --label_src
OUTPUT = Path("outdir_ours")  # where the original writes
LOGS = Path("logs")

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
    return exit_code("test_lseg", partial(run, _parser().parse_args(arguments)))


def run(options: argparse.Namespace) -> None:
    """Load the model, then do what the options ask for."""
    if options.weights is None:
        raise ValueError("there are no weights to test: pass their file as --weights")
    name = find_model(options.backbone)
    if options.label_src != WORDS_OF_A_DATASET:
        pictures = find_pictures(options.pictures)
        multi = _load(name, options)
        draw(partial(multi, labels=multi.check_labels(options.label_src.split(","))), pictures)
        return
    dataset = open_dataset(options.dataset, options.data_path, "validation")
    multi = _load(name, options)
    dataset, words, translate = multi.segmenter.network.for_dataset(dataset, "semantic")

    segment = OneByOne(lambda picture: translate(multi(picture, words)))
    if options.eval:
        score(segment, dataset, options)
    else:
        draw_all(segment, dataset)


class OneByOne:
    """Answers the pictures of a dataset one after the other: each is seen in several scales as it is."""

    def __init__(self, segment: Segment):
        self.segment = segment

    def __call__(self, picture: np.ndarray) -> Answer:
        return self.segment(picture)

    def stream(
        self,
        items: Iterable[int],
        read: Callable[[int], np.ndarray],
        finish: Callable[[int, Answer], str],
        name: Callable[[int], str],
    ) -> Generator[tuple[int, str]]:
        for item in items:
            yield item, finish(item, self(read(item)))


def draw(segment: Segment, pictures: Mapping[Path, Path]) -> None:
    """Every picture under the colours of its words with a legend, its label map and its segments."""
    with progress_bar(len(pictures), "segmenting", log="ms_seg") as bar:
        for path, stem in output_stems(pictures).items():
            overlay, *_ = segment(read_picture(path)).save(OUTPUT, str(stem))
            bar.note(f"{path} -> {overlay}")
            bar()


def score(segment: OneByOne, dataset: SemanticDataset, options: argparse.Namespace) -> None:
    """Print pixAcc and mIoU, and log them with each class's IoU."""
    predictions = CachedPredictions(ModelLabelMaps(segment, dataset))
    matrix = evaluate(dataset, predictions, SemanticTally.of(dataset), World(0, 1, [])).matrix
    accuracy, ious = figures(matrix)
    print(f"pixAcc: {accuracy:.4f}, mIoU: {ious.mean():.4f}")
    print(ious)
    LOGS.mkdir(exist_ok=True)
    with (LOGS / f"log_test_{options.jobname}_{options.dataset}.txt").open("a") as log:
        log.write(f"dataset {options.dataset} ==> pixAcc: {accuracy:.4f}, mIoU: {ious.mean():.4f}\n")
        log.write("".join(f"{iou:.4f}, " for iou in ious) + "\n")


def figures(matrix: ConfusionMatrix) -> tuple[float, np.ndarray]:
    """pixAcc, and each class's IoU as PyTorch-Encoding's SegmentationMetric has it: 0 for one that is nowhere."""
    return matrix.aacc, np.nan_to_num(matrix.per_class_iou)


def draw_all(segment: OneByOne, dataset: SemanticDataset) -> None:
    """The label map of each picture of a dataset, as `python -m ms_seg evaluate --predictions` reads them."""
    predictions = ModelLabelMaps(segment, dataset, OUTPUT)
    with progress_bar(len(dataset), "segmenting", log="ms_seg") as bar:
        for index in range(len(dataset)):
            predictions[index]
            bar()
    print(f"{len(dataset)} label maps in {OUTPUT}")


def palette(count: int) -> np.ndarray:
    """The colours of the original's figures, those of PASCAL VOC: (count, 3) uint8, the first one black."""
    index = np.arange(count)
    colours = np.zeros((count, 3), np.uint8)
    for channel in range(3):
        for bit in range(8):
            colours[:, channel] |= ((index >> 3 * bit + channel & 1) << 7 - bit).astype(np.uint8)
    return colours


class MultiSegmenter:
    """Segments as a `Segmenter` does, but with what `look` makes of many views."""

    def __init__(self, segmenter: ms_seg.Segmenter, look: MultiEval):
        self.segmenter, self.look, self.check_labels = segmenter, look, segmenter.check_labels

    def __call__(self, picture: np.ndarray, labels: tuple[str, ...]) -> Answer:
        rule, size = self.segmenter.preset.preprocessing, picture.shape[:2]
        image = normalise(picture, rule.mean, rule.std)
        total = self.look(image, lambda images: self.segmenter.network.compare(images, labels)[0][0])
        logits = Logits(total, Geometry(size, size, size), via_input=False)
        label_set = LabelSet(labels, palette(len(labels)))
        label_map, scores = label_pixels(logits)
        return Answer(picture, label_map, label_set, scores, self.segmenter.preset.name, logits=logits)


def _load(name: str, options: argparse.Namespace) -> MultiSegmenter:
    set_up_device(options.device)
    model = ms_seg.create_model(name, options.weights, **head_fields(options))
    look = MultiEval(2048, 768, CITYSCAPES_SCALES) if options.dataset == "citys" else MultiEval()
    return MultiSegmenter(ms_seg.Segmenter(model, options.mode, vocab=options.vocab), look)


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
    add_head(parser, ("lrelu", "tanh", "relu"))
    add("--vocab", metavar="FILE", help="CLIP's vocabulary, where it is not found by itself")
    add_device(parser)
    add_mode(parser)
    add_unused(parser, "the figures do", _SWITCHES, _VALUES)
    return parser


if __name__ == "__main__":
    sys.exit(main())

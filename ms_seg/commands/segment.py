"""`segment`: pictures in; overlays, label maps and segments out."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import ms_seg
from convert.progress import ProgressBar, progress_bar
from ms_seg.answers.drawing.colours import OPACITY
from ms_seg.commands.device import add_batch_size, add_device, add_mode, set_up_device
from ms_seg.commands.override import add_choice, add_override
from ms_seg.hub import address_of_model, find_address
from ms_seg.presets import TASKS, find_preset

if TYPE_CHECKING:
    from ms_seg.answers import BaseAnswer
    from ms_seg.inference import Segmenter

_PICTURE_ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_OWN_ENDINGS = (".overlay.png", ".labels.png")  # what this command wrote into a folder is no picture to segment


def add(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="pictures, or folders of pictures")
    parser.add_argument(
        "--model", metavar="NAME", help="see `models`, or a hub's name; with --checkpoint the file says it by default"
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="the weights, as published for PyTorch or converted, or a hub's name"
    )
    words = parser.add_mutually_exclusive_group()
    words.add_argument("--labels", metavar="A,B,C", help="words to tell apart, for a model that takes words")
    words.add_argument("--text", metavar="WORD", help="one word, to be told from everything else")
    parser.add_argument("--vocab", metavar="FILE", help="of a model that takes words, CLIP's vocabulary or its folder")
    parser.add_argument(
        "--task", choices=TASKS, help="what to answer, of a model that can do several (default: panoptic)"
    )
    parser.add_argument(
        "--score-threshold", type=share_of_one, metavar="S",
        help="of instances, the least score of those in the overlay and the label file (default: 0.5)",
    )  # fmt: skip
    parser.add_argument(
        "--opacity",
        type=share_of_one,
        default=OPACITY,
        metavar="A",
        help="of the colours, 0 to 1 (default: %(default)s)",
    )
    parser.add_argument("--no-legend", action="store_true", help="leave the legend away")
    add_batch_size(parser)
    parser.add_argument("--save-embeddings", action="store_true", help="write the features of pixels and words too")
    parser.add_argument("--output", metavar="DIR", default="segmented", help="where to write (default: %(default)s)")
    add_override(parser)
    add_choice(parser)
    add_device(parser)
    add_mode(parser)


def run(options: argparse.Namespace) -> int:
    """Segment every picture; 0 if all went well, 1 if some could not be segmented, 2 if none could."""
    pictures = find_pictures(options.pictures)
    model, checkpoint = choose_model(options.model, options.checkpoint)
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    set_up_device(options.device)
    cell = ms_seg.create_model(model, checkpoint, weights=options.weights, drop=options.drop, **dict(options.override))
    segmenter = ms_seg.Segmenter(
        cell,
        options.mode,
        vocab=options.vocab,
        task=options.task,
        batch_size=options.batch_size,
        score_threshold=options.score_threshold,
    )
    if options.save_embeddings:
        segmenter.network.check_embeddings()
    labels = segmenter.check_labels(_words(options))
    with progress_bar(len(pictures), "segmenting", log="ms_seg") as bar:
        try:
            failed = _segment_all(segmenter, labels, pictures, options, bar)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"stopped: {bar.done:.0f} of {len(pictures)} pictures are done, in {folder}"
            ) from None
    print(f"{len(pictures) - failed} of {len(pictures)} pictures segmented by {segmenter.preset.name} into {folder}")
    return 0 if not failed else 1 if failed < len(pictures) else 2


def _words(options: argparse.Namespace) -> list[str] | None:
    """The labels, if any. A comma inside a label cannot be written."""
    if options.text is not None:
        return [options.text]
    return None if options.labels is None else options.labels.split(",")


def choose_model(name: str | None, checkpoint: str | None) -> tuple[str, str | Path]:
    """The model's name and its weights: as given, found in the file ("auto"), those of a hub, or the embedded ones.

    Raises ValueError where neither is named, for an unknown name, and for a published model without its weights.
    """
    if checkpoint is not None:
        return name or "auto", checkpoint
    if name is None or name == "auto":
        raise ValueError(
            "no model is named: pass --checkpoint FILE, which says which model it is, or --model NAME, of which "
            "`python -m ms_seg models` lists the published ones"
        )
    if address_of_model(name):
        return "auto", name
    preset = find_preset(name)
    if preset.embedded is None:
        source = " or ".join(map(str, preset.published)) or "them"
        names = [name for entry in preset.published for name in (entry.id, entry.file) if name and find_address(name)]
        by_name = f", or pass --model {names[0]}, which downloads it" if names else ""
        raise ValueError(
            f"{preset.name} needs its weights: download {source} and pass the file as --checkpoint{by_name}"
        )
    return preset.name, preset.embedded


def share_of_one(text: str) -> float:
    """A number from 0 to 1, of an option. Raises ArgumentTypeError for anything else."""
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"it must be a number from 0 to 1: {text!r} is not")
    return share


def find_pictures(arguments: Iterable[str]) -> list[Path]:
    """The pictures named, each once, and those directly in the folders named, in the order of their names.

    Raises ValueError for a folder without pictures.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, arguments):
        pictures = _in_folder(path) if path.is_dir() else [path]
        if not pictures:
            raise ValueError(f"there are no pictures in {path}: looked for {', '.join(sorted(_PICTURE_ENDINGS))}")
        for picture in pictures:
            found.setdefault(picture.resolve(), picture)
    return list(found.values())


def output_stems(pictures: Iterable[Path]) -> dict[Path, str]:
    """Each picture's name without its ending; of equal ones (a/dog.jpg, b/dog.png) the second becomes dog-2."""
    stems: dict[Path, str] = {}
    taken: set[str] = set()
    for picture in pictures:
        stem, number = picture.stem, 1
        while stem.casefold() in taken:  # file systems that ignore case would overwrite too
            number += 1
            stem = f"{picture.stem}-{number}"
        taken.add(stem.casefold())
        stems[picture] = stem
    return stems


def _in_folder(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.suffix.lower() in _PICTURE_ENDINGS and path.is_file())
    return sorted(path for path in files if not path.name.startswith(".") and not path.name.endswith(_OWN_ENDINGS))


def _segment_all(
    segmenter: Segmenter,
    labels: Sequence[str] | None,
    pictures: Sequence[Path],
    options: argparse.Namespace,
    bar: ProgressBar,
) -> int:
    """Segment and save the pictures; returns how many failed, each with a sentence on stderr."""
    folder, stems = Path(options.output), output_stems(pictures)

    def show(done: int, windows: int) -> None:
        bar.part(done / windows, f"window {done} of {windows}")

    def save(picture: Path, answer: BaseAnswer) -> str:
        answer.save(folder, stems[picture], options.opacity, not options.no_legend)
        if options.save_embeddings:
            answer.save_embeddings(folder, stems[picture])
        return answer.summary

    failed = 0
    with closing(segmenter.stream(pictures, lambda picture: picture, save, labels, show)) as results:
        for picture, result in results:
            if isinstance(result, (ValueError, RuntimeError)):
                failed += 1
                bar.note(str(result) if str(picture) in str(result) else f"{picture}: {result}")
            else:
                bar.note(f"{picture} -> {folder / stems[picture]}.*: {result}")
            bar()
    return failed

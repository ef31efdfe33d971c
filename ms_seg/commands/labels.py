"""What a person says of the values in label files, and what is shown where it must be said."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convert.atomic import whole_file
from convert.progress import progress_bar
from ms_seg.answers.drawing.labels import draw_readings
from ms_seg.data.own_folder import OWN
from ms_seg.data.picture import UnreadablePicture
from ms_seg.data.preflight import Seen, look_at_all
from ms_seg.data.readings import AmbiguousLabels, LabelOptions
from ms_seg.data.semantic import LabelledFolder

_IGNORABLE = re.compile(r"\d+|#[0-9a-fA-F]{6}")


def add_label_options(parser: argparse._ActionsContainer) -> None:
    """The options; they are for a person's own pictures, since published datasets are known."""
    parser.add_argument(
        "--label-values", metavar="N,...", type=_values, default=(),
        help="of your own label files, the value of each class, in the order of labels.txt, such as 0,255",
    )  # fmt: skip
    parser.add_argument(
        "--ignore-label", metavar="N,...", type=_ignored, default=(),
        help="values, or colours such as #000000, that are neither learned nor scored; 255 is one unless it is a class",
    )  # fmt: skip
    parser.add_argument(
        "--reduce-zero-label", choices=("true", "false"),
        help="whether 0 is ignored and 1 the first class, or 0 is the first class",
    )  # fmt: skip


def label_options(options: argparse.Namespace) -> LabelOptions:
    """What the options say. Raises ValueError where they are given for published datasets alone."""
    reduced = None if options.reduce_zero_label is None else options.reduce_zero_label == "true"
    said = LabelOptions(options.label_values, options.ignore_label, reduced)
    names = [options.dataset] if isinstance(options.dataset, str) else options.dataset
    if said and OWN not in names:
        raise ValueError(
            f"--label-values, --ignore-label and --reduce-zero-label are for --dataset {OWN}: what the label files of "
            f"{', '.join(names)} hold is known"
        )
    return said


@contextmanager
def drawing_readings(output: Path) -> Iterator[None]:
    """Where label files can be read in several ways, draw one in each of them beside the folder of the output."""
    try:
        yield
    except AmbiguousLabels as error:
        output.parent.mkdir(parents=True, exist_ok=True)
        path = output.with_name(f"{output.name}.readings.png")
        with whole_file(path) as draft:
            draw_readings(error).save(draft, "PNG")
        raise ValueError(f"{error}\n{error.file} is drawn in each way in {path}") from None


def look(seen: Seen, split: str) -> list[int]:
    """Read all of a split, with a bar; what cannot be read is said at once. Returns the indices of the others."""
    with progress_bar(len(seen.dataset), f"looking at {split}", log="ms_seg") as bar:

        def report(problem: str | None) -> None:
            if problem:
                bar.note(problem)
            bar()

        return look_at_all(seen, report)


@contextmanager
def naming_skip_damaged() -> Iterator[None]:
    """Where a picture cannot be read, say how it is left out."""
    try:
        yield
    except UnreadablePicture as error:
        raise UnreadablePicture(f"{error}; --skip-damaged leaves out what cannot be read") from None


def without_damaged(dataset: Any) -> Any:
    """A dataset without the pictures that cannot be read, or whose labels cannot.

    Raises ValueError if none is left, and for a dataset that is no folder of label maps.
    """
    if not isinstance(dataset, LabelledFolder):
        raise ValueError("--skip-damaged is for datasets of label maps in folders")
    whole = look(Seen(dataset, len(dataset.label_set)), f"{len(dataset)} pictures")
    if not whole:
        raise ValueError(f"none of the {len(dataset)} pictures in {dataset.pictures} can be read")
    if len(whole) < len(dataset):
        print(f"{len(dataset) - len(whole)} of {len(dataset)} pictures in {dataset.pictures} are left out", flush=True)
    return dataset.only(whole)


def _values(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers with commas between them: {text!r} is not") from None


def _ignored(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(","))
    if not all(map(_IGNORABLE.fullmatch, parts)):
        raise argparse.ArgumentTypeError(f"must be values or colours such as #000000: {text!r} is not")
    return parts

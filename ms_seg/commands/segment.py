"""`segment`: pictures and videos in; overlays, label maps and segments out."""

from __future__ import annotations

import argparse
import io
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import ms_seg
from convert.progress import ProgressBar, progress_bar
from ms_seg.answers.drawing.colours import OPACITY
from ms_seg.commands.device import (
    add_batch_size,
    add_device,
    add_mode,
    add_precision,
    add_sizes,
    mode_of_segment,
    padded_line,
    set_up_device,
)
from ms_seg.commands.override import add_choice, add_override
from ms_seg.commands.segment_video import add_video, is_done, segment_videos
from ms_seg.data.picture import pictures_in
from ms_seg.data.video import is_video
from ms_seg.hub import choose_model
from ms_seg.presets import TASKS, title_of

if TYPE_CHECKING:
    from ms_seg.answers import BaseAnswer
    from ms_seg.inference import Segmenter

_FINISHERS = 2  # threads that save: a file's last byte is waited for, and much of the rest is Python


def add(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.usage = "%(prog)s PICTURE ... [--model NAME] [--checkpoint FILE] [--output DIR] [option ...]"
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="pictures, videos, or folders of pictures")
    parser.add_argument("--recursive", action="store_true", help="also take the pictures in the folders of folders")
    parser.add_argument("--skip-existing", action="store_true", help="leave out pictures whose results are there")
    parser.add_argument("--quiet", action="store_true", help="say only what goes wrong")
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
    add_video(parser)
    add_batch_size(parser)
    add_sizes(parser)
    parser.add_argument("--save-embeddings", action="store_true", help="write the features of pixels and words too")
    parser.add_argument("--output", metavar="DIR", default="segmented", help="where to write (default: %(default)s)")
    add_override(parser)
    add_choice(parser)
    add_device(parser)
    add_mode(parser, default=None)
    add_precision(parser)


def run(options: argparse.Namespace) -> int:
    """Segment every picture and video; 0 if all went well, 1 if some could not be segmented, 2 if none could."""
    videos = {path: Path() for path in dict.fromkeys(map(Path, options.pictures)) if is_video(path)}
    pictures = find_pictures([path for path in options.pictures if Path(path) not in videos], options.recursive)
    model, checkpoint = choose_model(options.model, options.checkpoint)
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    set_up_device(options.device, options.full_float32)
    cell = ms_seg.create_model(model, checkpoint, weights=options.weights, drop=options.drop, **dict(options.override))
    looks_once = len(pictures) == 1 and not videos and not options.sizes and cell.preset.window is None
    segmenter = ms_seg.Segmenter(
        cell,
        options.mode or mode_of_segment(looks_once, options.device),
        vocab=options.vocab,
        task=options.task,
        batch_size=options.batch_size,
        score_threshold=options.score_threshold,
        precision=options.precision,
        sizes=options.sizes,
    )
    if options.save_embeddings:
        segmenter.network.check_embeddings()
        if videos:
            raise ValueError(f"embeddings are saved of pictures alone: {next(iter(videos))} is a video")
    labels = segmenter.check_labels(_words(options))
    stems = output_stems({**pictures, **videos})
    if options.skip_existing:
        stems = {p: s for p, s in stems.items() if not _is_done(p, folder / s, segmenter, options)}
    to_do = {path: stem for path, stem in stems.items() if path not in videos}
    stream = _Silence() if options.quiet else None
    failed = 0
    if to_do or not videos:
        with progress_bar(len(to_do), "segmenting", stream, log="ms_seg") as bar:
            failed = _segment_all(segmenter, labels, to_do, options, bar)
    videos_to_do = {path: stem for path, stem in stems.items() if path in videos}
    failed_videos, short = segment_videos(segmenter, labels, videos_to_do, options, stream)
    failed += failed_videos
    files = len(pictures) + len(videos)
    if not options.quiet:
        skipped = files - len(stems)
        others = f", {skipped} were there already" if skipped else ""
        kind = "pictures" if not videos else "videos" if not pictures else "files"
        done = f"{len(stems) - failed} of {len(stems)} {kind} segmented by {title_of(segmenter.preset)}"
        print(f"{done} into {folder}{others}")
        if segmenter.padded and options.sizes:
            print(padded_line(segmenter.padded, "pictures" if not videos else "pictures and frames"))
    return 0 if not failed + short else 1 if failed < files else 2


class _Silence(io.StringIO):
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


def _words(options: argparse.Namespace) -> list[str] | None:
    """The labels, if any. A comma inside a label cannot be written."""
    if options.text is not None:
        return [options.text]
    return None if options.labels is None else options.labels.split(",")


def share_of_one(text: str) -> float:
    """A number from 0 to 1, of an option. Raises ArgumentTypeError for anything else."""
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"it must be a number from 0 to 1: {text!r} is not")
    return share


def find_pictures(arguments: Iterable[str], recursive: bool = False) -> dict[Path, Path]:
    """The pictures named, each once, and those in the folders named, in the order of their names; with the folder below
    the output that their results go to.

    recursive: also those in the folders' own folders, whose results go to folders of the same names.
    Raises ValueError for a folder without pictures.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    for path in map(Path, arguments):
        pictures = pictures_in(path, recursive) if path.is_dir() else [path]
        for picture in pictures:
            below = picture.parent.relative_to(path) if path.is_dir() else Path()
            place = picture.parent.resolve() / picture.name  # two links to one file are two pictures
            found.setdefault(place, (picture, below))
    return dict(found.values())


def output_stems(pictures: Mapping[Path, Path]) -> dict[Path, Path]:
    """Each picture's folder below the output, and its name without its ending; of equal ones (a/dog.jpg, b/dog.png) the
    second becomes dog-2."""
    stems: dict[Path, Path] = {}
    taken: set[str] = set()
    numbers: dict[Path, int] = {}  # the last one of each stem: ten thousand may have one name
    for picture, below in pictures.items():
        stem = below / picture.stem
        number = numbers.get(stem, 1)
        while str(stem).casefold() in taken:  # file systems that ignore case would overwrite too
            number += 1
            stem = below / f"{picture.stem}-{number}"
        numbers[below / picture.stem] = number
        taken.add(str(stem).casefold())
        stems[picture] = stem
    return stems


def _is_done(path: Path, stem: Path, segmenter: Segmenter, options: argparse.Namespace) -> bool:
    """Whether the last file that is written for a picture or video is there."""
    if is_video(path):
        return is_done(stem, options.save_label_maps)
    last = "panoptic.json" if segmenter.task == "panoptic" else "segments.json"
    others = ["embeddings.npz"] if options.save_embeddings else []
    return all(Path(f"{stem}.{end}").is_file() for end in (last, *others))


def _segment_all(
    segmenter: Segmenter,
    labels: Sequence[str] | None,
    stems: Mapping[Path, Path],
    options: argparse.Namespace,
    bar: ProgressBar,
) -> int:
    """Segment and save the pictures under their stems; returns how many failed, each with a sentence on stderr.

    Raises KeyboardInterrupt, after Ctrl-C, when those that were being saved then are.
    """
    folder, saved, failed = Path(options.output), set(), 0

    def show(done: int, windows: int) -> None:
        bar.part(done / windows, f"window {done} of {windows}")

    def save(picture: Path, answer: BaseAnswer) -> str:
        stem = folder / stems[picture]
        answer.save(stem.parent, stem.name, options.opacity, not options.no_legend)
        if options.save_embeddings:
            answer.save_embeddings(stem.parent, stem.name)
        saved.add(picture)
        return answer.summary

    stream = segmenter.stream(stems, lambda picture: picture, save, labels, show, finishers=_FINISHERS)
    try:
        with closing(stream) as results:
            for picture, result in results:
                if isinstance(result, (ValueError, RuntimeError)):
                    failed += 1
                    sentence = str(result) if str(picture) in str(result) else f"{picture}: {result}"
                    print(sentence, file=sys.stderr) if options.quiet else bar.note(sentence)
                else:
                    bar.note(f"{picture} -> {folder / stems[picture]}.*: {result}")
                bar()
    except KeyboardInterrupt:
        done = f"stopped: {len(saved)} of {len(stems)} pictures are saved in {folder}"
        hint = "with --skip-existing the same command goes on with the others"
        raise KeyboardInterrupt(f"{done}; {hint}") from None
    return failed

"""`segment` of a video: frames in; an overlay video out, and if asked their label maps."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from convert.progress import progress_bar
from ms_seg.answers.video import SavedVideo
from ms_seg.data.video import EndOfVideo, Video

if TYPE_CHECKING:
    from ms_seg.answers import BaseAnswer
    from ms_seg.inference import Segmenter


def add_video(parser: argparse.ArgumentParser) -> None:
    """Give a command the options of videos."""
    parser.add_argument(
        "--every", type=_whole_number, default=1, metavar="N", help="of a video, segment every N-th frame alone"
    )
    parser.add_argument(
        "--save-label-maps", action="store_true", help="of a video, write the label map and segments of each frame too"
    )


def _whole_number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it must be a whole number from 1 on: {text!r} is not")
    return int(text)


def is_done(stem: Path, label_maps: bool) -> bool:
    """Whether what is saved of a video is there."""
    return Path(f"{stem}.overlay.mp4").is_file() and (not label_maps or Path(f"{stem}.labels").is_dir())


def segment_videos(
    segmenter: Segmenter,
    labels: Sequence[str] | None,
    stems: Mapping[Path, Path],
    options: argparse.Namespace,
    stream: TextIO | None,
) -> tuple[int, int]:
    """Segment and save the videos under their stems; returns how many failed, and how many others ended too early, each
    with a sentence on stderr.

    stream: for the progress, stderr if None.
    """
    failed = short = 0
    for path, stem in stems.items():
        try:
            short += not _segment_video(segmenter, labels, path, Path(options.output) / stem, options, stream)
        except (ValueError, RuntimeError) as error:
            failed += 1
            print(error, file=sys.stderr)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped: of {path} nothing is kept") from None
    return failed, short


def _segment_video(
    segmenter: Segmenter,
    labels: Sequence[str] | None,
    path: Path,
    stem: Path,
    options: argparse.Namespace,
    stream: TextIO | None,
) -> bool:
    """Segment and save a video; returns whether all the frames that it says it has were there.

    Raises ValueError or RuntimeError where it, or one of its frames, cannot be segmented; nothing is kept then.
    """
    every = options.every
    with Video(path) as video:
        total = -(-video.frames // every)
        saving = SavedVideo(
            stem.parent, stem.name, video.fps / every, 1 / video.fps, options.save_label_maps, options.opacity
        )
        with saving, progress_bar(total, f"segmenting {path.name}", stream, log="ms_seg") as bar:

            def save(number: int, answer: BaseAnswer) -> None:
                saving(number, answer)

            frames = segmenter.stream(
                count(0, every), video.read, save, labels, name=lambda number: f"{path}, frame {number}"
            )
            begun = time.monotonic()
            with closing(frames) as results:
                for _, result in results:
                    if isinstance(result, EndOfVideo):
                        break
                    if isinstance(result, (ValueError, RuntimeError)):
                        raise result
                    if saving.frames == 1:
                        begun = time.monotonic()  # the first frame includes compiling
                    pace = (saving.frames - 1) / max(time.monotonic() - begun, 1e-6)
                    bar(1, f"{pace:.1f} frames/s" if saving.frames > 1 else "")
            if not saving.frames:
                raise ValueError(f"{path} has no frame that OpenCV's FFmpeg can decode, of the codec {video.codec!r}")
            kept = saving.keep()
            pace = (saving.frames - 1) / max(time.monotonic() - begun, 1e-6)
            bar.note(f"{path} -> {', '.join(map(str, kept))}: {saving.frames} frames, {pace:.1f} a second")
    whole = saving.frames >= total
    if not whole:
        sentence = f"{path} says that it has {total * every} frames: it ends after {saving.frames * every}"
        print(f"{sentence}, or is damaged there; those are kept", file=sys.stderr)
    return whole

"""What is saved of a video: an overlay video, and if asked a label map of each frame."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from convert.atomic import ESCAPED, draft_folder, take_over
from ms_seg.answers.base import BaseAnswer
from ms_seg.answers.png import encode_png
from ms_seg.answers.segments import SegmentsAnswer
from ms_seg.answers.tracking import Tracks

_CODEC = "mp4v"  # MPEG-4, part 2: what OpenCV's packages encode by themselves at hundreds of frames a second
_MIN_FPS = 0.1


class SavedVideo:
    """Writes `<stem>.overlay.mp4`, and if asked the folder `<stem>.labels`: for each frame `<number>.png`, what
    `BaseAnswer.label_image` gives, and its line in `segments.jsonl`, with `frame`, `seconds` and `segments`.

    Call it with a frame's number and the answer to it, in the order of the frames. Things keep their colours, see
    `Tracks`. A context manager: only what `keep` was called for appears under its name, whole; nothing else is left.

    Args:
        folder, stem: where the files go, and how their names begin.
        fps: frames a second of the overlay video. seconds: from one frame number to the next.
        label_maps: write these too.
        opacity: see `BaseAnswer.draw`.

    Raises OSError if the folder cannot be written, or the video not be encoded.
    """

    def __init__(
        self, folder: Path, stem: str, fps: float, seconds: float, label_maps: bool = False, opacity: float = 0.5
    ):
        self.overlay, self.labels = folder / f"{stem}.overlay.mp4", folder / f"{stem}.labels"
        self._fps, self._seconds, self._label_maps, self._opacity = _fitting(fps), seconds, label_maps, opacity
        self._tracks = Tracks()
        self._writer: cv2.VideoWriter | None = None
        self.frames = 0  # that were written

    def __enter__(self) -> SavedVideo:
        self.overlay.parent.mkdir(parents=True, exist_ok=True)
        self._drafts = draft_folder(self.overlay)
        self._draft = self._drafts.__enter__()
        if self._label_maps:
            (self._draft / "labels").mkdir()
        return self

    def __call__(self, number: int, answer: BaseAnswer) -> None:
        """Write the next frame."""
        if isinstance(answer, SegmentsAnswer):
            answer = self._tracks(answer)
        self._write(np.asarray(answer.draw(self._opacity, legend=False)))
        if self._label_maps:
            (self._draft / "labels" / f"{number:06}.png").write_bytes(encode_png(answer.label_image()))
            about = {"frame": number, "seconds": round(number * self._seconds, 6), "segments": answer.segments}
            self._write_line(about)
        self.frames += 1

    def keep(self) -> list[Path]:
        """End the files, and give them their names. Returns their paths. Raises OSError if the video is not whole."""
        self._release()
        draft = self._draft / "overlay.mp4"
        written = cv2.VideoCapture(os.fspath(draft), cv2.CAP_FFMPEG)  # its encoder says nothing of a full disk
        counted = int(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else 0
        written.release()
        if counted != self.frames:
            raise OSError(f"{self.overlay} could not be written: it holds {counted} of {self.frames} frames")
        if self._label_maps:
            take_over(self._draft / "labels", self.labels)
        take_over(draft, self.overlay)
        return [self.overlay, *([self.labels] if self._label_maps else [])]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()
        self._drafts.__exit__(kind, error, trace)

    def _write(self, image: np.ndarray) -> None:
        """A frame RGB (H, W, 3) uint8. The codec wants even sides: the last row or column is there twice."""
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        if self._writer is None:
            size = image.shape[1], image.shape[0]
            code = cv2.VideoWriter.fourcc(*_CODEC)
            self._writer = cv2.VideoWriter(
                os.fspath((self._draft / "overlay.mp4").absolute()), cv2.CAP_FFMPEG, code, self._fps, size
            )
            if not self._writer.isOpened():
                raise OSError(f"{self.overlay}: frames of {size[0]}x{size[1]} could not be encoded")
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def _write_line(self, about: dict[str, Any]) -> None:
        with (self._draft / "labels" / "segments.jsonl").open("a", encoding="utf-8", errors=ESCAPED) as file:
            file.write(json.dumps(about, ensure_ascii=False) + "\n")

    def _release(self) -> None:
        if self._writer is not None:
            self._writer.release()


def _fitting(fps: float) -> float:
    """A rate that the codec can write, as a fraction whose denominator has 16 bits: to a thousandth or to a tenth."""
    return max(_MIN_FPS, round(fps, 3 if fps < 65 else 1))

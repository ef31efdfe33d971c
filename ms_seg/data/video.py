"""Videos as their frames, one after the other, all as RGB."""

from __future__ import annotations

import math
import os
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from ms_seg.data.picture import check_size

ENDINGS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}

_MAX_FPS = 1000.0
# What OpenCV hands to FFmpeg: a file that says it is a playlist cannot make it ask a network; and FFmpeg says nothing.
_FFMPEG = {"OPENCV_FFMPEG_CAPTURE_OPTIONS": "protocol_whitelist;file", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a video, by the ending of its name."""
    return Path(path).suffix.lower() in ENDINGS and not os.path.isdir(path)


class EndOfVideo(ValueError):
    """There is no frame of that number: the video is over."""


class Video:
    """A video's file, open for reading from its beginning to its end, turned as the file says.

    path: the file. size: (height, width) of every frame; OpenCV brings those of another size to that of the first.
    fps: frames a second, on average. frames: how many there are as the file says, which need not be how many can be
    read; where it does not say, they are counted. codec: the four letters of how they are encoded.

    Raises ValueError, naming the file, if it is missing, no video, damaged at its beginning, without frames, or has
    frames of more pixels than a picture may have.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        if not self.path.is_file():
            raise ValueError(f"there is no video {path}")
        self._capture = _open(self.path)
        width, height = self._number(cv2.CAP_PROP_FRAME_WIDTH), self._number(cv2.CAP_PROP_FRAME_HEIGHT)
        self.size = int(height), int(width)
        check_size(str(path), int(width), int(height))
        fps = self._number(cv2.CAP_PROP_FPS)
        if not 0 < fps <= _MAX_FPS:
            raise ValueError(f"{path} says that it has {fps:g} frames a second: it is damaged, or no video")
        self.fps = fps
        letters = int(self._number(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
        self.codec = letters.decode("latin-1").strip("\0 ")
        self._next = 0  # the number of the frame that is read next
        self.frames = int(self._number(cv2.CAP_PROP_FRAME_COUNT))
        if self.frames <= 0:
            self.frames = self._count()

    def read(self, number: int) -> np.ndarray:
        """The frame of that number, from 0 on: RGB (H, W, 3) uint8. Those before it are passed over for good.

        Raises EndOfVideo behind the last one.
        """
        while self._next <= number:
            if not self._capture.grab():
                raise EndOfVideo(f"{self.path} has no frame {number}")
            self._next += 1
        whole, frame = self._capture.retrieve()
        if not whole:
            raise EndOfVideo(f"{self.path} has no frame {number}")
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._capture.release()

    def _number(self, key: int) -> float:
        value = self._capture.get(key)
        return value if math.isfinite(value) else 0.0

    def _count(self) -> int:
        """How many frames can be read; the file is read from its beginning for it."""
        counted = 0
        while self._capture.grab():
            counted += 1
        self._capture.release()
        self._capture = _open(self.path)
        return counted


def _open(path: Path) -> cv2.VideoCapture:
    for name, value in _FFMPEG.items():
        os.environ.setdefault(name, value)
    # An absolute path begins with a slash, and with nothing that FFmpeg takes for a protocol or a pattern of names.
    level = cv2.setLogLevel(0)  # OpenCV has a warning of its own for what is said below
    try:
        capture = cv2.VideoCapture(os.fspath(path.absolute()), cv2.CAP_FFMPEG)
    finally:
        cv2.setLogLevel(level)
    if not capture.isOpened():
        raise ValueError(f"{path} is empty, damaged, or not a video that OpenCV's FFmpeg reads")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture

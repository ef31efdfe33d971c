"""Videos drawn for tests: a red square that moves to the right over blue, encoded as a camera would."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH, SIDE = 48, 64, 16


def frame(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """RGB (H, W, 3) uint8."""
    picture = np.full((height, width, 3), (20, 20, 200), np.uint8)
    picture[16 : 16 + SIDE, 2 * number : 2 * number + SIDE] = (220, 20, 20)
    return picture


def write_video(path: Path, frames: int, fps: float = 10.0, height: int = HEIGHT, width: int = WIDTH) -> Path:
    code = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, (width, height))
    for number in range(frames):
        writer.write(cv2.cvtColor(frame(number, height, width), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def read_video(path: Path) -> list[np.ndarray]:
    """Its frames RGB, by OpenCV alone."""
    capture, frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    return frames


def turned(path: Path) -> Path:
    """The same MP4 file, which now says that it is to be shown turned by a quarter to the right."""
    content = path.read_bytes()
    upright, quarter = (
        b"".join(number.to_bytes(4, "big", signed=True) for number in matrix)
        for matrix in ((1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30))
    )
    track = content.index(b"tkhd")
    path.write_bytes(content[:track] + content[track:].replace(upright, quarter, 1))
    return path

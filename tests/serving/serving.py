"""A server on a port of this machine, for tests: its models are the toys, whose answers are plain to see."""

from __future__ import annotations

import http.client
import io
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ms_seg.inference import Segmenter
from ms_seg.serving.app import build_app
from ms_seg.serving.limits import Limits
from ms_seg.serving.server import listen, make_server
from ms_seg.text import Tokenizer
from tests.toy_model import ColourQueries, ColourWords, StrongestChannel


def toys(folder: Path) -> dict[str, Segmenter]:
    """Models of every kind; the folder is for a vocabulary without merges, whose every letter is a token."""
    vocabulary = folder / "letters.txt"
    vocabulary.write_text("#version: letters\n")
    return {
        "toy": Segmenter(StrongestChannel(), "pynative"),
        "toy_words": Segmenter(ColourWords(Tokenizer(vocabulary)), "pynative", vocab=vocabulary),
        "toy_queries": Segmenter(ColourQueries(), "pynative"),
    }


@contextmanager
def served(models: Mapping[str, Segmenter], limits: Limits | None = None, **more: Any) -> Iterator[int]:
    """Serve in a thread during the block; yields the port."""
    limits = limits or Limits()
    with listen("127.0.0.1", 0) as listening:
        server = make_server(build_app(models, limits, **more), limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def ask(
    port: int, path: str, body: Any = None, headers: Mapping[str, str] | None = None, method: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (names in lower case) and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def segment(port: int, picture: bytes, query: str = "", headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON of the door's answer."""
    status, _, body = ask(port, f"/segment?{query}", picture, headers)
    return status, json.loads(body)


def halves(left: tuple[int, int, int], right: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A picture of two colours side by side; size: (width, height)."""
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    pixels[:, : size[0] // 2], pixels[:, size[0] // 2 :] = left, right
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


RED, GREEN, BLUE = (220, 10, 10), (10, 220, 10), (10, 10, 220)
PICTURE = encoded(halves(RED, BLUE))


def resident() -> float:
    """MB of this process's memory."""
    with open("/proc/self/status") as status:
        (line,) = (line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

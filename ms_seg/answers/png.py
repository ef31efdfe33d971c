"""PNG files, written fast: overlays and label maps are flat, and run lengths find that in half of the time or less.

512x683, one core: an overlay 11 ms and 469 kB, where Pillow's fastest level takes 24 ms and 449 kB; a label map 0.9 ms
and 22 kB, where Pillow takes 4 ms and 19 kB.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {"P": (8, 3), "RGB": (8, 2), "I;16": (16, 0)}  # Pillow's mode: PNG's bit depth and colour type
_NO_FILTER, _UP = 0, 2  # PNG's filters of a row: as it is; minus the row above it


def encode_png(image: Image.Image) -> bytes:
    """A PNG file of an image with a palette, of RGB, or of 16-bit greys ("P", "RGB", "I;16")."""
    depth, colour_type = _COLOUR_TYPES[image.mode]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *image.size, depth, colour_type, 0, 0, 0))]
    if image.mode == "P":
        chunks.append((b"PLTE", bytes(image.getpalette() or [])))
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    chunks.append((b"IDAT", deflate.compress(_filtered(image).data) + deflate.flush()))
    return _SIGNATURE + b"".join(_chunk(*chunk) for chunk in [*chunks, (b"IEND", b"")])


def _filtered(image: Image.Image) -> np.ndarray:
    """The rows as PNG holds them, (H, 1 + bytes of a row) uint8: a filter before each. Photographs gain by one."""
    pixels = np.asarray(image)
    rows = (pixels.astype(">u2") if image.mode == "I;16" else pixels).reshape(len(pixels), -1).view(np.uint8)
    filtered = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP if image.mode == "RGB" else _NO_FILTER
    filtered[:, 1:] = rows
    if image.mode == "RGB":
        filtered[1:, 1:] -= rows[:-1]
    return filtered


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))

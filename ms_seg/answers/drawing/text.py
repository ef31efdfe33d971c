"""Text in drawings. Names of classes come again in picture after picture, and are rendered once."""

from __future__ import annotations

import math
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

INK = (28, 28, 30)


def write(image: Image.Image, place: tuple[float, float], text: str, size: int, anchor: str, colour: Colour) -> None:
    """Write a text of that size in pixels. anchor: what of it is at `place`, as Pillow says it."""
    _stamp(image, place, colour, _mask(text, size, anchor, 0))


def write_outlined(
    image: Image.Image, place: tuple[float, float], text: str, size: int, anchor: str, colour: Colour, outline: Colour
) -> None:
    """As `write`, with an outline, so that it can be read on anything."""
    _stamp(image, place, outline, _mask(text, size, anchor, max(1, round(size / 10))))
    write(image, place, text, size, anchor, colour)


def length_of(text: str, size: int) -> int:
    """How wide a text is, in pixels."""
    return math.ceil(_font(size).getlength(text))


@lru_cache(1024)
def box_of(text: str, size: int, anchor: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a text, from its anchor on."""
    return _font(size).getbbox(text, anchor=anchor)


@lru_cache(32)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@lru_cache(1024)
def _mask(text: str, size: int, anchor: str, stroke: int) -> tuple[Image.Image, tuple[int, int]]:
    """The pixels of a text, 0..255, and where they begin, from its anchor on."""
    font = _font(size)
    left, top, right, bottom = font.getbbox(text, anchor=anchor, stroke_width=stroke)
    corner = math.floor(left), math.floor(top)
    mask = Image.new("L", (max(1, math.ceil(right) - corner[0]), max(1, math.ceil(bottom) - corner[1])))
    place = -corner[0], -corner[1]
    ImageDraw.Draw(mask).text(place, text, 255, font, anchor=anchor, stroke_width=stroke)
    return mask, corner


def _stamp(
    image: Image.Image, place: tuple[float, float], colour: Colour, stamp: tuple[Image.Image, tuple[int, int]]
) -> None:
    mask, (left, top) = stamp
    image.paste(colour, (round(place[0]) + left, round(place[1]) + top), mask)

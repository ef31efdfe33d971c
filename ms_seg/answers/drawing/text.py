"""Text in drawings. Names of classes come again in picture after picture, and are rendered once.

Pillow's own font has little more than ASCII. Other text is written in the first font of this machine that has all of
its characters: DejaVu Sans, which comes with Matplotlib, before those of the system.
"""

from __future__ import annotations

import logging
import math
from functools import cache, lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

INK = (28, 28, 30)

_NO_CHARACTER = "\U0010ffff"  # no font has it: it looks like any character that a font does not have
_PROBED_SIZE = 16  # pixels
_PLACEHOLDERS = ("LastResort", "Emoji")  # fonts that have a sign for everything, or pictures
_SLANTED_OR_BOLD = ("Bold", "Italic", "Oblique", "Black", "Light", "Thin", "Heavy", "Mono", "Serif")  # taken last

_log = logging.getLogger(__name__)


def legible(name: str, index: int) -> str:
    """A class's name, or "class 3" for the class of that index if no font here has all of its characters."""
    if _drawable(name):
        return name
    _say_missing()
    return f"class {index}"


def font_file(text: str) -> Path | None:
    """The first font of this machine that has all characters of a text; None if none has, or Pillow's own does."""
    return None if _in_own_font(text) else _font_file("".join(sorted(set(text) - {" "})))


def write(image: Image.Image, place: tuple[float, float], text: str, size: int, anchor: str, colour: Colour) -> None:
    """Write a text of that size in pixels. anchor: what of it is at `place`, as Pillow says it."""
    _stamp(image, place, colour, _mask(text, size, anchor, 0))


def write_outlined(
    image: Image.Image, place: tuple[float, float], text: str, size: int, anchor: str, colour: Colour, outline: Colour
) -> None:
    """As `write`, with an outline, so that it can be read on anything."""
    _stamp(image, place, outline, _mask(text, size, anchor, max(1, round(size / 10))))
    write(image, place, text, size, anchor, colour)


@lru_cache(1024)
def length_of(text: str, size: int) -> int:
    """How wide a text is, in pixels."""
    return math.ceil(_font(size, font_file(text)).getlength(_shown(text)))


def fitted(text: str, size: int, width: int) -> str:
    """A text no wider than so many pixels: what is too long loses its middle, for names differ in their ends."""
    text = _shown(text)
    kept = len(text)
    shown = text
    while kept > 1 and length_of(shown, size) > width:
        kept -= 1
        shown = f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
    return shown


@lru_cache(1024)
def box_of(text: str, size: int, anchor: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a text, from its anchor on."""
    return _font(size, font_file(text)).getbbox(_shown(text), anchor=anchor)


@lru_cache(32)
def _font(size: int, file: Path | None) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size) if file is None else ImageFont.truetype(file, size)


def _drawable(text: str) -> bool:
    return _in_own_font(text) or font_file(text) is not None


def _shown(text: str) -> str:
    """The text, or what no font here has of it as numbers of characters."""
    return text if _drawable(text) else text.encode("ascii", "backslashreplace").decode()


@lru_cache(1024)
def _in_own_font(text: str) -> bool:
    return text.isascii() or _has(ImageFont.load_default(_PROBED_SIZE), text)


@cache  # once
def _say_missing() -> None:
    _log.warning(
        "no font here has the letters of some class names, so that pictures show the numbers of these classes: install "
        "one that has them, such as Noto Sans CJK"
    )


@lru_cache(1024)
def _font_file(characters: str) -> Path | None:
    for file in _font_files():
        try:
            if _has(ImageFont.truetype(file, _PROBED_SIZE), characters):
                return file
        except OSError:
            continue  # a font that cannot be scaled
    return None


@cache
def _font_files() -> tuple[Path, ...]:
    # Imported late: it takes a second.
    from matplotlib import get_data_path
    from matplotlib.font_manager import findSystemFonts

    upright = sorted(findSystemFonts(), key=lambda file: (any(word in file for word in _SLANTED_OR_BOLD), file))
    files = (Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), *map(Path, upright))
    return tuple(file for file in files if not any(word in file.name for word in _PLACEHOLDERS))


def _has(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, characters: str) -> bool:
    missing = bytes(font.getmask(_NO_CHARACTER))
    return all(bytes(font.getmask(character)) != missing for character in characters)


@lru_cache(1024)
def _mask(text: str, size: int, anchor: str, stroke: int) -> tuple[Image.Image, tuple[int, int]]:
    """The pixels of a text, 0..255, and where they begin, from its anchor on."""
    text, font = _shown(text), _font(size, font_file(text))
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

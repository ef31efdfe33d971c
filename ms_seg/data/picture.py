"""Pictures from files, arrays and Pillow images, all as RGB."""

from __future__ import annotations

import io
import logging
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ms_seg.data.jpeg import with_end

Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | np.ndarray | Image.Image

MAX_PIXELS = 150_000_000  # label map and overlay of a larger picture alone would take gigabytes
UPLOADED = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # Pillow's names: no format that runs a program
_ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_OF_ANSWERS = (".overlay.png", ".labels.png")
_ADDRESS = re.compile(r"(https?|ftp):/+(.*)", re.IGNORECASE)  # a path has one slash left of two
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)  # EXIF: the tag, and the values that swap width and height
_MAX_SAID = 3  # files of a kind that are named
_SAID: defaultdict[str, set[str]] = defaultdict(set)


class UnreadablePicture(ValueError):
    """A picture file that is damaged, or none."""


def read_picture(picture: Picture, upright: bool = True) -> np.ndarray:
    """A picture as RGB (H, W, 3) uint8, rotated as its EXIF tag says.

    Args:
        picture: a path, the bytes of a file or an open one, an RGB array (H, W, 3) uint8, or a Pillow image. As with
            the references' readers, palettes, greys and CMYK become RGB, 16-bit greys keep their upper byte,
            transparency is dropped, and an animation is its first frame. A JPEG file decodes to the same pixels as with
            OpenCV, which mmsegmentation uses. Greys of 12 bits keep the upper 8 of these, those of 32 bits and
            fractions are scaled from their least to their greatest to 0..255, and a JPEG file without its end marker is
            read where all of its pixels are there; all of this is said in the log.
        upright: False leaves the picture as stored, for masks that were drawn on pictures that were not rotated.

    Raises: ValueError, naming the file, if it is missing, damaged or no picture, has pixels that are no numbers, or
        more than MAX_PIXELS; also for an array of another type or shape.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"the array is {picture.dtype} {picture.shape}: pass RGB (height, width, 3) uint8")
        check_size("the array", picture.shape[1], picture.shape[0])
        return np.ascontiguousarray(picture)
    if isinstance(picture, Image.Image):
        return _decode(picture, "the image", upright)
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return _read_file(io.BytesIO(picture), "what the bytes hold", upright)
    if isinstance(picture, (str, os.PathLike)):
        return _read_file(picture, os.fspath(picture), upright)
    if hasattr(picture, "read"):
        return _read_file(io.BytesIO(_content(picture)), name_of(picture) or "the file", upright)
    raise ValueError(f"{type(picture).__name__} is not a picture: pass a path, bytes, an array or a Pillow image")


def read_upload(content: bytes, name: str, max_pixels: int) -> np.ndarray:
    """A picture as a stranger sent it: the bytes of a file in one of the formats UPLOADED, as `read_picture` reads it.

    Raises ValueError, beginning with the name, as `read_picture` does, for other formats, and for more than max_pixels,
    which the file's header says: nothing larger is decoded.
    """
    with _open(io.BytesIO(content), name=name, formats=UPLOADED, max_pixels=max_pixels) as image:
        return _decode(image, name, upright=True)


def name_of(picture: Any) -> str | None:
    """The path that a picture comes from, None for what has none."""
    name = picture if isinstance(picture, (str, os.PathLike)) else getattr(picture, "name", None)
    return os.fspath(name) if isinstance(name, (str, os.PathLike)) else None


def _content(file: BinaryIO) -> bytes:
    """What is left of an open file. Raises ValueError for one of text."""
    content = file.read()
    if not isinstance(content, bytes):
        raise ValueError("the file is open as text: open it with mode 'rb'")
    return content


def _read_file(file: str | os.PathLike[str] | io.BytesIO, name: str, upright: bool) -> np.ndarray:
    with _open(file, name=name) as image:
        return _decode(image, name, upright)


def pictures_in(folder: str | os.PathLike[str], recursive: bool = False) -> list[Path]:
    """The picture files in a folder, in the order of their names, but those that saving answers wrote there.

    recursive: also those in its own folders. Raises ValueError where there are none.
    """
    found = (path for path in Path(folder).glob("**/*" if recursive else "*") if path.suffix.lower() in _ENDINGS)
    shown = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    pictures = sorted(path for path in shown if not path.name.endswith(_OF_ANSWERS) and path.is_file())
    if not pictures:
        deeper = "" if recursive else "; with --recursive its folders are looked into"
        raise ValueError(f"there are no pictures in {folder}: looked for {', '.join(sorted(_ENDINGS))}{deeper}")
    return pictures


def read_stored(picture: str | os.PathLike[str], in_colour: bool = False) -> np.ndarray:
    """The numbers in a picture file as stored, (H, W) or (H, W, channels); with a palette, the indices.

    in_colour: instead of indices the colours of the palette, and greys of 8 bits or fewer as colours.
    Raises ValueError, naming the file, if it is missing, damaged or no picture, or has more than MAX_PIXELS.
    """
    with _open(picture) as image, _in_a_sentence(os.fspath(picture)):
        return np.array(image.convert("RGB") if in_colour and image.mode in ("1", "L", "P") else image)


def stored_mode(picture: str | os.PathLike[str]) -> str:
    """Pillow's name for what a picture file stores, such as "L" or "RGB", from its header. Raises as `read_stored`."""
    with _open(picture, whole=False) as image:
        return image.mode


def turn_as(picture: str | os.PathLike[str], array: np.ndarray) -> np.ndarray:
    """An array (H, W) turned and mirrored as a picture file's EXIF tag says of the picture. Raises as `read_stored`."""
    with _open(picture, whole=False) as image, _in_a_sentence(os.fspath(picture)):
        orientation = image.getexif().get(_ORIENTATION)
    # Of 5 to 8 rows were columns; 5 mirrors across the diagonal, 6 to 8 turn or mirror once more.
    if orientation in _SIDEWAYS:
        array = array.T
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def packed(colours: np.ndarray) -> np.ndarray:
    """RGB or RGBA (H, W, 3 or 4) uint8 -> (H, W) int32, red + 256 green + 65536 blue."""
    if colours.shape[2] == 3:
        colours = cv2.cvtColor(colours, cv2.COLOR_RGB2RGBA)  # 0.1 ms at 480x640; arithmetic in int32 takes 0.7
    return np.ascontiguousarray(colours).view("<i4")[..., 0] & 0xFFFFFF


def picture_size(picture: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) as of `read_picture`, from the file's header alone. Raises as `read_stored` does."""
    with _open(picture, whole=False) as image, _in_a_sentence(os.fspath(picture)):
        width, height = image.size
        return (width, height) if image.getexif().get(_ORIENTATION) in _SIDEWAYS else (height, width)


@contextmanager
def _open(
    picture: str | os.PathLike[str] | io.BytesIO,
    whole: bool = True,
    name: str | None = None,
    formats: tuple[str, ...] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Image.Image]:
    """A picture file, opened. whole: verify the checksums of a PNG too; Pillow decodes damaged data without."""
    file = picture if isinstance(picture, io.BytesIO) else os.fspath(picture)
    name = name or str(file)
    if isinstance(file, str):
        _check_path(file)
    with _in_a_sentence(name, max_pixels):
        image = Image.open(file, formats=formats)
    with image:
        check_size(name, *image.size, max_pixels)
        if whole and image.format in ("JPEG", "MPO"):
            with _in_a_sentence(name):
                content = file.getvalue() if isinstance(file, io.BytesIO) else Path(file).read_bytes()
                mended = with_end(image, content)
            if mended is not None:
                _say("lacks the marker of its end; all of its pixels are there", name)
            yield mended or image
            return
        if not whole or image.format != "PNG":
            yield image
            return
        with _in_a_sentence(name):
            image.verify()
    with _in_a_sentence(name):
        image = Image.open(file, formats=formats)  # a verified image cannot be decoded
    with image:
        yield image


def _check_path(path: str) -> None:
    """Raise ValueError for what is the path of no file, and could be taken for one."""
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder, not a picture")
    if address := _ADDRESS.match(path):
        raise ValueError(f"{address[1]}://{address[2]} is an address: download the picture, and pass its file")


def _say(what: str, name: str) -> None:
    """Tell a person what was done with a file, of the first few files, once of each, and in this process alone."""
    said = _SAID[what]
    if parent_process() is None and name not in said and len(said) < _MAX_SAID:
        said.add(name)
        more = "; further ones of the kind are not named" if len(said) == _MAX_SAID else ""
        logging.getLogger("ms_seg").warning("%s %s%s", name, what, more)


def _decode(image: Image.Image, name: str, upright: bool) -> np.ndarray:
    check_size(name, *image.size)
    with _in_a_sentence(name):
        image.load()
        image = ImageOps.exif_transpose(image) if upright else image
        wide = image.mode in ("I", "F") or image.mode.startswith("I;16")
        pixels = np.array(image if wide else image.convert("RGB"))
    return _from_wide_grey(pixels, name) if wide else pixels


@contextmanager
def _in_a_sentence(name: str, max_pixels: int = MAX_PIXELS) -> Iterator[None]:
    """Pillow's many errors as one sentence each, and none of its warnings.

    It warns of sizes, which check_size limits, of damaged EXIF tags, without which it goes on, and of transparency,
    which is dropped.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    except FileNotFoundError:
        raise ValueError(f"there is no picture {name}") from None
    except UnidentifiedImageError:
        raise UnreadablePicture(f"{name} is not a picture of a known format") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{name} is too large: at most {max_pixels / 1_000_000:g} million pixels are read") from None
    except Exception as error:  # Pillow's decoders raise almost anything for a damaged file
        if isinstance(error, OSError) and error.strerror:
            raise ValueError(f"cannot open {name}: {error.strerror}") from None
        raise UnreadablePicture(f"{name} is cut off or damaged: {error}") from None


def _from_wide_grey(grey: np.ndarray, name: str) -> np.ndarray:
    """Grey (H, W) of more than 8 bits -> RGB; of 16 bits the upper byte, as OpenCV and Pillow do of 16-bit colours."""
    low, high = grey.min(), grey.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{name} has pixels that are no numbers: convert it to 8 bits")
    if grey.dtype.kind == "f" or low < 0 or high > 65535:
        _say(f"has pixels of {grey.dtype}, which are scaled from their own range to 0..255", name)
        grey = np.rint((grey.astype(np.float64) - low) * 255 / (float(high) - float(low) or 1))
    elif high <= 255:
        _say("has 16-bit pixels up to 255 alone, which are taken for 8-bit ones", name)
    elif high <= 4095:
        _say("has 16-bit pixels up to 4095 alone, which are taken for 12-bit ones", name)
        grey = grey >> 4
    else:
        grey = grey >> 8
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def check_size(name: str, width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Raise ValueError, beginning with the name, for a picture that is empty or has more than max_pixels."""
    if not width or not height:
        raise ValueError(f"{name} is empty: {width}x{height} pixels")
    if width * height > max_pixels:
        limit = f"{max_pixels / 1_000_000:g} million pixels"
        raise ValueError(f"{name} is too large: {width}x{height}, and at most {limit} are read")

"""Pictures as ModelScope's pipelines take them: each kind of pipeline reads colours and EXIF tags in its own way."""

from __future__ import annotations

import io
import logging
import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from ms_seg.data.picture import read_picture
from ms_seg.hub.transfer import read_bytes

_MAX_BYTES = 256 << 20  # of a picture from a server


@dataclass(frozen=True)
class Reading:
    """upright: whether a file's EXIF tag turns it; that of a Pillow image never does. arrays: the order of an array's
    colours. images: whether a Pillow image's red is taken for blue.
    """

    upright: bool
    arrays: Literal["rgb", "bgr"]
    images: Literal["right", "swapped"]

    def __call__(self, picture: Any) -> np.ndarray:
        """A path, an address, an array (H, W, 3) or (H, W) uint8 or a Pillow image as RGB (H, W, 3) uint8.

        Raises ValueError for anything else, and for what cannot be read.
        """
        if isinstance(picture, np.ndarray):
            if picture.ndim == 2:
                return read_picture(np.repeat(picture[..., None], 3, axis=2))
            return read_picture(picture if self.arrays == "rgb" else picture[..., ::-1])
        if isinstance(picture, Image.Image):
            pixels = read_picture(picture, upright=False)
            if self.images == "right":
                return pixels
            logging.getLogger("ms_seg").warning(
                "ModelScope's pipeline of this model takes a Pillow image's red for blue, and so does this one: pass "
                "the picture's path to have it as it is"
            )
            return read_picture(pixels[..., ::-1])
        if isinstance(picture, str) and picture.startswith(("http://", "https://")):
            return self._from_server(picture)
        if not isinstance(picture, (str, os.PathLike)):
            raise ValueError(
                f"{type(picture).__name__} is not a picture: pass a path, an address, an array or an image"
            )
        return read_picture(picture, self.upright)

    def _from_server(self, url: str) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(read_bytes(url, _MAX_BYTES))) as image:
                return read_picture(image, self.upright)
        except UnidentifiedImageError:
            raise ValueError(f"{url} is not a picture of a known format") from None

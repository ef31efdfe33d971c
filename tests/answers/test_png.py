"""PNG files: every reader finds what was written, and flat pictures stay small."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from ms_seg.answers.png import encode_png

RNG = np.random.default_rng(0)


def with_palette() -> Image.Image:
    image = Image.fromarray(RNG.integers(0, 200, (7, 11)).astype(np.uint8))
    image.putpalette(RNG.integers(0, 256, 768).astype(np.uint8).tobytes())
    return image


IMAGES = {
    "palette": with_palette(),
    "RGB": Image.fromarray(RNG.integers(0, 256, (9, 5, 3)).astype(np.uint8)),
    "16 bits": Image.fromarray(RNG.integers(0, 65536, (6, 13)).astype(np.uint16)),
    "one pixel": Image.new("RGB", (1, 1), (1, 2, 3)),
}


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_pillow_and_opencv_read_what_was_written(image: Image.Image):
    content = encode_png(image)
    with Image.open(io.BytesIO(content)) as read:
        read.verify()
    with Image.open(io.BytesIO(content)) as read:
        assert (read.size, read.mode) == (image.size, image.mode)
        np.testing.assert_array_equal(np.asarray(read), np.asarray(image))
        assert read.getpalette() == image.getpalette()
    shown = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    expected = np.asarray(image.convert("RGB") if image.mode == "P" else image)
    np.testing.assert_array_equal(shown[..., ::-1] if shown.ndim == 3 else shown, expected)


def test_flat_areas_take_almost_nothing():
    label_map = np.zeros((500, 600), np.uint8)
    label_map[:200] = 3
    image = Image.fromarray(label_map)
    image.putpalette(bytes(768))
    assert len(encode_png(image)) < 8000

"""The network's input. Expected values are mmsegmentation 0.30's and transformers 4.57's for the drawn picture."""

import numpy as np
import pytest
from PIL import Image

from ms_seg.data.preprocessing import Geometry, network_input
from ms_seg.presets import IMAGENET_MEAN, IMAGENET_STD, Preprocessing


def drawn(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack(((x * 7 + y * 3) % 256, (x * x + y * 5) % 256, (x * y * 3) % 256), axis=-1).astype(np.uint8)


def test_keep_ratio_is_mmsegmentations_to_the_last_bit():
    images, geometry = network_input(drawn(45, 70), Preprocessing("keep_ratio", short_side=64, long_side=160))
    assert geometry == Geometry((45, 70), (64, 100), (64, 100))
    assert images.dtype == np.float32
    expected = [-0.11430778354406357, 1.9208683967590332, -0.7586928009986877]
    assert images[0, :, 10, 20].tolist() == expected
    assert images[0, :, -1, -1].tolist() == [-0.35405433177948, 0.012605063617229462, 0.7750762701034546]
    assert images.astype(np.float64).sum() == pytest.approx(3664.7071672333404, abs=1e-9)


def test_keep_ratio_pil_resizes_antialiased_and_as_detectron2_rounds():
    picture = drawn(45, 70)
    images, geometry = network_input(picture, Preprocessing("keep_ratio_pil", short_side=20, pad_multiple=32))
    assert geometry == Geometry((45, 70), (20, 31), (32, 32))
    resized = np.asarray(Image.fromarray(picture).resize((31, 20), Image.Resampling.BILINEAR))
    expected = (resized - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    assert images[0, :, :20, :31].transpose(1, 2, 0) == pytest.approx(expected, abs=1e-6)
    sides = {"short_side": 800, "long_side": 1333}
    for rule, width in (("keep_ratio", 667), ("keep_ratio_pil", 666)):  # 666.5, or a little less
        _, geometry = network_input(np.zeros((1222, 611, 3), np.uint8), Preprocessing(rule, **sides))
        assert geometry.resized == (1333, width)


def test_round_up_stretches_to_multiples_of_32():
    images, geometry = network_input(drawn(45, 70), Preprocessing("round_up", short_side=64, long_side=160))
    assert geometry == Geometry((45, 70), (64, 128), (64, 128))
    assert images[0, :, 10, 20].tolist() == [-0.4739276170730591, 0.5728291869163513, 2.047407388687134]
    assert images.astype(np.float64).sum() == pytest.approx(4690.969700364396, abs=1e-9)


def test_squash_is_transformers_processor():
    images, geometry = network_input(drawn(45, 70), Preprocessing("squash", short_side=64))
    assert geometry == Geometry((45, 70), (64, 64), (64, 64))
    expected = [0.8618032336235046, -1.3879550695419312, 1.5942485332489014]
    assert images[0, :, 10, 20] == pytest.approx(expected, abs=1e-6)
    assert images.astype(np.float64).sum() == pytest.approx(2371.537331927102, abs=1e-3)


def test_shrink_leaves_a_small_picture_as_it_is():
    rule = Preprocessing("shrink", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    images, geometry = network_input(drawn(45, 70), rule)
    assert geometry == Geometry((45, 70), (45, 70), (45, 70))
    assert np.array_equal(images[0].transpose(1, 2, 0), drawn(45, 70))


def test_padding_is_zero_after_normalisation_at_the_right_and_bottom():
    padded, geometry = network_input(drawn(45, 70), Preprocessing("shrink", pad_multiple=32))
    plain, _ = network_input(drawn(45, 70), Preprocessing("shrink"))
    assert geometry == Geometry((45, 70), (45, 70), (64, 96))
    assert np.array_equal(padded[:, :, :45, :70], plain)
    assert not padded[:, :, 45:].any()
    assert not padded[:, :, :, 70:].any()


@pytest.mark.parametrize(
    ("size", "resized"), [((1, 1), (512, 512)), ((3, 5000), (1, 2048)), ((1, 9000), (1, 2048)), ((700, 20), (2048, 59))]
)
def test_every_shape_of_picture_gives_an_input_of_at_least_32_pixels(size, resized):
    images, geometry = network_input(drawn(*size), Preprocessing("keep_ratio"))
    assert geometry.resized == resized
    assert images.shape[2:] == geometry.padded == tuple(max(32, side) for side in resized)


def test_shrinking_leaves_small_pictures_as_they_are():
    _, small = network_input(np.zeros((300, 512, 3), np.uint8), Preprocessing("shrink"))
    _, large = network_input(np.zeros((1024, 2000, 3), np.uint8), Preprocessing("shrink"))
    assert small.resized == (300, 512)
    assert large.resized == (512, 1000)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="resize is 'crop': it must be one of"):
        network_input(drawn(45, 70), Preprocessing("crop"))

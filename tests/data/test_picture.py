"""Reading pictures: whatever the file is, RGB comes out, or one sentence."""

import io
import struct
import warnings
import zlib
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ms_seg.data.picture import read_picture, read_stored


def gradient(height: int = 40, width: int = 56) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack((rows * 6, columns * 4, rows + columns), axis=-1).astype(np.uint8)


def test_path_array_and_image_give_the_same_pixels(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "a.png")
    for picture in (tmp_path / "a.png", str(tmp_path / "a.png"), gradient(), Image.fromarray(gradient())):
        assert np.array_equal(read_picture(picture), gradient())


def test_the_bytes_of_a_file_and_an_open_one_give_them_too(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(gradient()).save(path)
    content = path.read_bytes()
    for picture in (content, bytearray(content), memoryview(content), io.BytesIO(content)):
        assert np.array_equal(read_picture(picture), gradient())
    with path.open("rb") as file:
        assert np.array_equal(read_picture(file), gradient())


def test_bytes_and_open_files_that_are_no_picture_are_named(tmp_path):
    (tmp_path / "a.txt").write_text("no picture")
    with pytest.raises(ValueError, match="what the bytes hold is not a picture of a known format"):
        read_picture(b"no picture")
    with (tmp_path / "a.txt").open("rb") as file, pytest.raises(ValueError, match="a.txt is not a picture"):
        read_picture(file)
    with (tmp_path / "a.txt").open() as file, pytest.raises(ValueError, match="open it with mode 'rb'"):
        read_picture(file)


@pytest.mark.parametrize("address", ["https://example.org/dog.jpg", Path("https://example.org/dog.jpg")])
def test_an_address_is_told_from_a_file(address):
    with pytest.raises(ValueError, match=r"^https://example\.org/dog\.jpg is an address: download the picture"):
        read_picture(address)


def test_a_jpeg_decodes_to_opencvs_pixels(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "a.jpg", quality=70)
    assert np.array_equal(read_picture(tmp_path / "a.jpg"), cv2.imread(str(tmp_path / "a.jpg"))[..., ::-1])


def test_a_rotated_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera's top is at the right
    Image.fromarray(gradient()).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_picture(tmp_path / "a.png"), np.rot90(gradient(), -1))


def test_a_palette_is_looked_up(tmp_path):
    picture = Image.fromarray(gradient()).quantize(16)
    picture.save(tmp_path / "a.gif")
    assert np.array_equal(read_picture(tmp_path / "a.gif"), np.asarray(picture.convert("RGB")))


def test_grey_is_repeated(tmp_path):
    grey = gradient()[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert np.array_equal(read_picture(tmp_path / "a.png"), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_keeps_its_upper_byte(tmp_path, ending):
    grey = (np.arange(40 * 56).reshape(40, 56) * 29).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / f"a.{ending}")
    assert np.array_equal(read_picture(tmp_path / f"a.{ending}")[..., 1], grey >> 8)


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (20, 10), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert np.array_equal(read_picture(tmp_path / "a.tif"), np.full((10, 20, 3), (255, 0, 0)))


def test_transparency_is_dropped(tmp_path):
    Image.fromarray(np.dstack((gradient(), np.zeros((40, 56), np.uint8)))).save(tmp_path / "a.png")
    assert np.array_equal(read_picture(tmp_path / "a.png"), gradient())


def test_an_animation_is_its_first_frame(tmp_path):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert read_picture(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


def test_a_hundred_megapixels_are_read_without_a_warning(tmp_path):
    Image.new("1", (10_000, 10_000)).save(tmp_path / "a.png", compress_level=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_picture(tmp_path / "a.png").shape == (10_000, 10_000, 3)


@pytest.mark.parametrize("side", [13_000, 60_000])
def test_a_picture_of_untold_size_is_refused_by_its_header(tmp_path, side):
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    end = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks + end)
    with pytest.raises(ValueError, match=r"a\.png is too large"):
        read_picture(tmp_path / "a.png")


def test_a_cut_off_file_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for ending in ("jpg", "png", "webp"):
        path = tmp_path / f"a.{ending}"
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match=rf"a\.{ending} is (cut off or damaged|not a picture)"):
            read_picture(path)


def test_a_png_with_a_changed_bit_is_refused_or_unharmed(tmp_path):
    """Pillow's decoder takes a third of such files for whole."""
    file = tmp_path / "a.png"
    stored = np.random.default_rng(0).integers(0, 150, (5, 7), np.uint8).repeat(9, axis=0).repeat(9, axis=1)
    Image.fromarray(stored).save(file)
    whole, refused = file.read_bytes(), 0
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        for read, right in ((read_stored, stored), (read_picture, np.repeat(stored[..., None], 3, axis=2))):
            try:
                assert np.array_equal(read(file), right)
            except ValueError as error:
                assert str(file) in str(error)
                refused += 1
    assert refused > 1.8 * len(whole)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a"])
def test_a_file_that_is_no_picture_is_refused(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.jpg is (not a picture|cut off)"):
        read_picture(tmp_path / "a.jpg")


def test_pillows_warnings_are_not_passed_on(tmp_path):
    cut_exif = b"Exif\0\0II*\0\x08\0\0\0\x03\0" + bytes(8)  # three tags are announced, and less than one is there
    Image.fromarray(gradient()).save(tmp_path / "cut_exif.jpg", exif=cut_exif)
    palette = Image.fromarray(gradient()).quantize(8)
    palette.save(tmp_path / "palette.png", transparency=bytes(range(8)))
    for name in ("cut_exif.jpg", "palette.png"):
        with pytest.warns(UserWarning), Image.open(tmp_path / name) as image:  # as Pillow alone reads it
            image.getexif()
            image.convert("RGB")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read_picture(tmp_path / name).shape == (40, 56, 3)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no picture .*nothing\.png"):
        read_picture(tmp_path / "nothing.png")


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        read_picture(tmp_path)


@pytest.fixture
def unsaid(monkeypatch):
    monkeypatch.setattr("ms_seg.data.picture._SAID", defaultdict(set))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_marker_is_read_and_one_without_pixels_is_not(tmp_path, caplog, unsaid, progressive):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)).resize((131, 97))
    noise.save(tmp_path / "a.jpg", progressive=progressive)
    content, whole = (tmp_path / "a.jpg").read_bytes(), read_picture(tmp_path / "a.jpg")
    for missing in (1, 2):
        (tmp_path / f"lacks_{missing}.jpg").write_bytes(content[:-missing])
        assert np.array_equal(read_picture(tmp_path / f"lacks_{missing}.jpg"), whole)
    assert "lacks the marker of its end; all of its pixels are there" in caplog.text
    for missing in (3, 4, 8, 20):
        (tmp_path / "a.jpg").write_bytes(content[:-missing])
        with pytest.raises(ValueError, match=r"a\.jpg is cut off or damaged"):
            read_picture(tmp_path / "a.jpg")


def test_what_is_done_to_files_of_a_kind_is_said_of_three_files_once_of_each(tmp_path, caplog, unsaid):
    for place in range(5):
        Image.fromarray(np.arange(24, dtype=np.uint16).reshape(4, 6) * 100).save(tmp_path / f"{place}.png")
        for _ in range(2):  # a training reads its pictures again and again
            read_picture(tmp_path / f"{place}.png")
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(" has ")[0] for line in said] == [str(tmp_path / f"{place}.png") for place in range(3)]
    assert said[0].endswith("has 16-bit pixels up to 4095 alone, which are taken for 12-bit ones")
    assert said[2].endswith("further ones of the kind are not named")


@pytest.mark.parametrize(
    ("grey", "expected"),
    [
        (np.array([[0, 16, 4095]], np.uint16), [0, 1, 255]),
        (np.array([[0, 16, 255]], np.uint16), [0, 16, 255]),
        (np.array([[0, 256, 65535]], np.uint16), [0, 1, 255]),
        (np.array([[-1.0, 0.0, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.5, 0.5, 0.5]], np.float32), [0, 0, 0]),
        (np.array([[-100, 0, 100]], np.int32), [0, 128, 255]),
        (np.array([[0, 1000, 100_000]], np.int32), [0, 3, 255]),
    ],
)
def test_greys_of_many_bits_are_scaled(tmp_path, grey, expected):
    Image.fromarray(grey).save(tmp_path / "a.tif")
    assert read_picture(tmp_path / "a.tif")[0, :, 1].tolist() == expected


def test_pixels_that_are_no_numbers_are_refused(tmp_path):
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif has pixels that are no numbers"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
    ids=["float", "grey", "rgba", "empty"],
)
def test_another_array_is_refused(array):
    with pytest.raises(ValueError, match="the array is"):
        read_picture(array)


def test_what_is_no_picture_at_all_is_refused():
    with pytest.raises(ValueError, match="list is not a picture: pass a path, bytes, an array or a Pillow image"):
        read_picture([1, 2, 3])

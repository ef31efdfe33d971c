"""Archives whose directory, sizes or compression lie."""

import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from convert import CheckpointError, open_checkpoint
from tests.convert.reading import files
from tests.convert.reading.files import tensor

ARRAY = np.zeros((64, 64), np.float32)


def refused(tmp_path, data: bytes, sentence: str) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=sentence):
        with open_checkpoint(path) as tensors:
            for entry in tensors.values():
                entry.numpy()


def changed(data: bytes, record: bytes, field: int, form: str, value: int, local: bool = False) -> bytes:
    """The archive with one field of a record's directory entry, or of its local header, set to another value."""
    name_at = data.find(record) if local else data.rfind(record)
    at = name_at - (30 if local else 46) + field
    return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]


STORED = files.torch_zip({"x": tensor(ARRAY)})
DEFLATED = files.torch_zip({"x": tensor(ARRAY)}, packing=zipfile.ZIP_DEFLATED)
RECORD = b"archive/data/0"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (changed(STORED, RECORD, 8, "<H", 1), "is encrypted"),
        (changed(STORED, RECORD, 10, "<H", 12), "packed by method 12"),
        (changed(STORED, RECORD, 20, "<I", 99), "is stored, yet of 99 and of 16384 bytes"),
        (changed(STORED, RECORD, 42, "<I", 1), "not where the directory says"),
        (changed(STORED, RECORD, 42, "<I", 0x7FFFFFFF), "is cut off"),
        (changed(STORED, RECORD, 24, "<I", 0xFFFFFFFF), "lacks its zip64 sizes"),
        (changed(STORED, RECORD, 26, "<H", 0xFFFF, local=True), "is cut off|not where the directory says"),
        (changed(DEFLATED, RECORD, 24, "<I", 0x70000000), "would inflate"),
        (changed(DEFLATED, RECORD, 16, "<I", 1), "something else than was packed"),
        (STORED[:-30], "without its directory"),
        (STORED[: len(STORED) // 2], "without its directory"),
        (STORED[:-22] + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 3, 3, 10, 20, 0), "directory of 3 records"),
        (STORED[:-22] + struct.pack("<4s4H2IH", b"PK\5\6", 1, 0, 3, 3, 10, 20, 0), "several parts"),
    ],
)
def test_an_archive_that_lies_is_refused(data, sentence, tmp_path):
    refused(tmp_path, data, sentence)


def test_a_name_that_stands_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        import io

        file = io.BytesIO(STORED)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("archive/data.pkl", b"other")
    refused(tmp_path, file.getvalue(), "twice in the archive")


@pytest.mark.parametrize("declared", [16384 - 4, 16384 + 4])
def test_a_record_that_inflates_to_another_size_is_refused(declared, tmp_path):
    refused(tmp_path, changed(DEFLATED, RECORD, 24, "<I", declared), "elements take 16384")


def test_a_bomb_is_not_inflated_beyond_what_it_declares(tmp_path):
    bomb = zlib.compress(b"\0" * (300 << 20), 9)[2:-4]
    plain = files.torch_zip({"x": tensor(ARRAY)}, **{"data/0": bomb})
    size = len(bomb)
    data = changed(plain, RECORD, 8, "<H", 8, local=True)
    data = changed(changed(data, RECORD, 10, "<H", 8), RECORD, 24, "<I", ARRAY.nbytes)
    assert size < 1 << 20
    tracemalloc.start()
    refused(tmp_path, data, "does not inflate to the 16384 bytes")
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_zip64_sizes_are_read(tmp_path):
    import io

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        data, storages = files.pickled({"x": tensor(ARRAY + 3)})
        for name, value in (("a/data.pkl", data), ("a/data/0", storages["0"].data), ("a/version", b"3")):
            with archive.open(name, "w", force_zip64=True) as record:
                record.write(value)
    path = tmp_path / "model.pth"
    # A directory entry that leaves its size and offset to the zip64 field, as those beyond 4 GiB do.
    plain = file.getvalue()
    at = plain.rfind(b"a/data/0") - 46
    entry = bytearray(plain[at : at + 46 + 8])
    size, offset = len(storages["0"].data), struct.unpack_from("<I", entry, 42)[0]
    struct.pack_into("<2I", entry, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, 28)
    struct.pack_into("<I", entry, 42, 0xFFFFFFFF)
    entry += struct.pack("<2H3Q", 1, 24, size, size, offset)
    end = plain.rfind(b"PK\5\6")
    here, total, length, start = struct.unpack_from("<2H2I", plain, end + 8)
    directory = plain[start:at] + bytes(entry) + plain[at + 54 : end]
    record64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, here, total, len(directory), start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + len(directory), 1)
    last = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(plain[:start] + directory + record64 + locator + last)
    with open_checkpoint(path) as tensors:
        np.testing.assert_array_equal(tensors["x"].numpy(), ARRAY + 3)


def test_a_storage_inflated_once_is_shared_while_it_is_held(tmp_path, monkeypatch):
    storage = files.Storage(np.arange(10, dtype=np.float32).tobytes())
    views = {name: files.Tensor(storage, (5,), (1,), at) for name, at in (("a", 0), ("b", 5))}
    path = tmp_path / "model.pth"
    path.write_bytes(files.torch_zip(views, packing=zipfile.ZIP_DEFLATED))
    inflated = []
    original = zlib.decompressobj
    with open_checkpoint(path) as tensors:
        monkeypatch.setattr(zlib, "decompressobj", lambda *arguments: inflated.append(1) or original(*arguments))
        assert tensors["a"].numpy().sum() + tensors["b"].numpy().sum() == 45
    assert len(inflated) == 1

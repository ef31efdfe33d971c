"""NumPy's arrays: detectron2's pickles of every protocol and age, and `.npz`."""

import io
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from convert import CheckpointError, open_checkpoint
from tests.convert.reading import files

ARRAYS = {
    "c": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "big": np.arange(6, dtype=">i4").reshape(3, 2),
    "bool": np.array([True, False]),
    "half": np.float16([1.5, -2]),
    "complex": np.array([1 + 2j]),
    "scalar": np.array(5, np.uint16),
    "empty": np.zeros((0, 4), np.int8),
    "long": np.random.default_rng(0).standard_normal(4000),
}


def read(tmp_path, data: bytes) -> dict[str, np.ndarray]:
    path = tmp_path / "model.pkl"
    path.write_bytes(data)
    with open_checkpoint(path) as tensors:
        assert all(entry.dtype == entry.numpy().dtype.name for entry in tensors.values())
        return {name: entry.numpy() for name, entry in tensors.items()}


def assert_same(arrays: dict[str, np.ndarray]) -> None:
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype.isnative and arrays[name].shape == array.shape
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_detectron2_pickles_of_every_protocol(protocol, core, tmp_path):
    checkpoint = {"model": ARRAYS, "__author__": "third_party", "matching_heuristics": True, "iteration": np.int64(3)}
    data = pickle.dumps(checkpoint, protocol)
    if core == b"numpy._core" and protocol < 4:  # NumPy 2 names its modules so
        data = data.replace(b"numpy.core", core)
    assert_same(read(tmp_path, data))


def python_2_pickle(array: np.ndarray) -> bytes:
    """{"model": {"weight": array}} as Python 2 writes it: 8-bit strings, and integers for the flags of a dtype."""
    code, data = array.dtype.str[1:].encode(), array.tobytes()
    shape = b"".join(b"K" + bytes([size]) for size in array.shape)
    dtype = b"cnumpy\ndtype\n(U\2" + code + b"K\0K\1tR(K\3U\1<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    text = b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + len(data).to_bytes(4, "little")
    state = b"(K\1(" + shape + b"t" + dtype + b"I00\n" + text + data + b"tb"
    start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tU\1btR"
    return b"\x80\x02}U\5model}U\6weight" + start + state + b"ss."


@pytest.mark.parametrize("rows", [2, 100])
def test_python_2_pickles_with_their_8_bit_strings(rows, tmp_path):
    array = np.random.default_rng(1).standard_normal((rows, 20)).astype(np.float32)
    np.testing.assert_array_equal(read(tmp_path, python_2_pickle(array))["weight"], array)


def test_an_ordered_dictionary_of_python_2_is_read(tmp_path):
    data = pickle.dumps({"model": [["w", ARRAYS["c"]]]}, 2)
    data = data.replace(b"](]", b"ccollections\nOrderedDict\n](]").replace(b"eau.", b"ea\x85Ru.")
    if b"OrderedDict" not in data:
        call = files.Call(OrderedDict, [["w", ARRAYS["c"]]])
        data = files.pickled({"model": call})[0]
    np.testing.assert_array_equal(read(tmp_path, data)["w"], ARRAYS["c"])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_is_read(save, tmp_path):
    file = io.BytesIO()
    save(file, **ARRAYS)
    assert_same(read(tmp_path, file.getvalue()))


def test_arrays_of_objects_are_refused_by_name(tmp_path):
    objects = np.array([{"a": 1}, None], object)
    file = io.BytesIO()
    np.savez(file, good=ARRAYS["c"], bad=objects)
    for data in (file.getvalue(), pickle.dumps({"model": {"good": ARRAYS["c"], "bad": objects}})):
        path = tmp_path / "model.pkl"
        path.write_bytes(data)
        with open_checkpoint(path) as tensors:
            np.testing.assert_array_equal(tensors["good"].numpy(), ARRAYS["c"])
            with pytest.raises(CheckpointError, match="bad.* is of type object"):
                tensors["bad"].numpy()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"(2, 3)", b"(2, 4)"),
        lambda data: data.replace(b"(2, 3)", b"(-2,3)"),
        lambda data: data.replace(b"'<f4'", b"'<f8'"),
        lambda data: data.replace(b"'shape'", b"'shapf'"),
        lambda data: data.replace(b"False", b"0or 1"),
        lambda data: data.replace(b"NUMPY\x01", b"NUMPY\x07"),
        lambda data: data.replace(b"NUMPY\x01\x00v\x00", b"NUMPY\x01\x00\xff\xff"),
    ],
)
def test_a_damaged_npy_header_is_refused(change, tmp_path):
    file = io.BytesIO()
    np.save(file, ARRAYS["c"])
    damaged = change(file.getvalue())
    assert damaged != file.getvalue()
    with pytest.raises(CheckpointError):
        read(tmp_path, files.zipped({"x.npy": damaged}))


def test_bytes_of_another_length_than_the_shape_are_refused(tmp_path):
    for protocol in (2, 4):
        data = pickle.dumps({"model": {"x": np.ones((2, 3), np.float32)}}, protocol)
        with pytest.raises(CheckpointError, match="array of 28 bytes|array of 32 bytes|for an array"):
            read(tmp_path, data.replace(b"K\x02K\x03\x86", b"K\x02K\x04\x86"))

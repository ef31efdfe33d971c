"""What is written comes back bit for bit, and never half."""

import os
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass

import mindspore
import numpy as np
import pytest

from convert import open_checkpoint
from convert.reading.tensor import NUMPY_CODES
from convert.writing import write_checkpoint


@dataclass
class Held:
    """An entry whose array is at hand."""

    array: np.ndarray
    dtype: str

    @property
    def shape(self) -> tuple:
        return self.array.shape

    def numpy(self) -> np.ndarray:
        return self.array


def drawn(dtype: str, shape: tuple) -> Held:
    """Random bits of an element type, so that NaNs and infinities are among them."""
    chance = np.random.default_rng(len(dtype) + sum(shape))
    if dtype == "bool":
        return Held(chance.integers(0, 2, shape).astype(bool), dtype)
    if dtype == "bfloat16":
        return Held((chance.integers(0, 1 << 16, shape).astype(np.uint32) << 16).view(np.float32).reshape(shape), dtype)
    code = np.dtype(NUMPY_CODES[dtype])
    data = chance.bytes(int(np.prod(shape)) * code.itemsize)
    return Held(np.frombuffer(data, code).reshape(shape), dtype)


TENSORS = OrderedDict((f"layers.{dtype}.wéight", drawn(dtype, (3, 5))) for dtype in NUMPY_CODES)
TENSORS |= {"scalar": drawn("float32", ()), "steps": drawn("int64", ()), "odd": drawn("uint8", (3,))}
TENSORS |= {"transposed": Held(drawn("float32", (4, 6)).array.T, "float32"), "empty": drawn("float16", (2, 0))}


def fit_for(ending: str) -> dict[str, Held]:
    """The tensors that a container can hold."""
    lacking = {".ckpt": ("complex64", "complex128"), ".safetensors": ("complex128",)}.get(ending, ())
    return {name: entry for name, entry in TENSORS.items() if entry.dtype not in lacking}


@pytest.mark.parametrize("ending", [".ckpt", ".safetensors", ".pth", ".pt", ".bin"])
def test_tensors_come_back_bit_for_bit(ending, tmp_path):
    expected, path = fit_for(ending), tmp_path / f"model{ending}"
    write_checkpoint(path, expected)
    with open_checkpoint(path) as tensors:
        assert set(tensors) == set(expected)
        if ending != ".safetensors":
            assert list(tensors) == list(expected)
        for name, entry in tensors.items():
            assert (entry.shape, entry.dtype) == (expected[name].shape, expected[name].dtype)
            assert entry.numpy().tobytes() == expected[name].array.tobytes(), name
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".ckpt", ".safetensors"])
def test_metadata_is_kept(ending, tmp_path):
    metadata = {"model": "segformer_b0", "note": "héllo\nworld", "empty": ""}
    write_checkpoint(tmp_path / f"model{ending}", {"x": TENSORS["odd"]}, metadata=metadata)
    with open_checkpoint(tmp_path / f"model{ending}") as tensors:
        assert tensors.metadata == metadata


def test_floats_are_rounded_to_nearest_even_bfloat16(tmp_path):
    values = np.array([1.0, 1.00390625, 1.01171875, -1.0039064, 3.4e38, np.inf, np.nan], np.float32)
    values[-1:].view(np.uint32)[:] = 0x7F800001  # a NaN all of whose payload is in the half that goes
    write_checkpoint(tmp_path / "x.safetensors", {"x": Held(values, "bfloat16")})
    with open_checkpoint(tmp_path / "x.safetensors") as tensors:
        read = tensors["x"].numpy()
    np.testing.assert_array_equal(read, np.array([1, 1, 1.015625, -1.0078125, np.inf, np.inf, np.nan], np.float32))


def test_a_large_parameter_is_split_as_mindspore_does(tmp_path, monkeypatch):
    monkeypatch.setattr("convert.writing.MINDSPORE_SLICE", 40)
    write_checkpoint(tmp_path / "x.ckpt", fit_for(".ckpt"))
    assert (tmp_path / "x.ckpt").read_bytes().count("layers.float32.wéight".encode()) == 2  # 60 bytes
    with open_checkpoint(tmp_path / "x.ckpt") as tensors:
        for name, entry in tensors.items():
            assert entry.numpy().tobytes() == TENSORS[name].array.tobytes()


def test_strided_arrays_are_written_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("convert.writing.WRITE_PIECE", 64)
    array = np.arange(7 * 9 * 5, dtype=np.float32).reshape(7, 9, 5).transpose(2, 0, 1)
    write_checkpoint(tmp_path / "x.pth", {"x": Held(array, "float32"), "y": Held(array[0, 0, ::2], "float32")})
    with open_checkpoint(tmp_path / "x.pth") as tensors:
        np.testing.assert_array_equal(tensors["x"].numpy(), array)
        np.testing.assert_array_equal(tensors["y"].numpy(), array[0, 0, ::2])


def test_records_of_a_pytorch_file_are_stored_and_aligned(tmp_path):
    write_checkpoint(tmp_path / "x.pth", TENSORS)
    data = (tmp_path / "x.pth").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.pth") as archive:
        assert archive.testzip() is None
        for record in archive.infolist():
            lengths = struct.unpack_from("<2H", data, record.header_offset + 26)
            assert (record.header_offset + 30 + sum(lengths)) % 64 == 0
            assert record.compress_type == zipfile.ZIP_STORED


def test_safetensors_are_aligned_and_in_the_order_of_their_bytes(tmp_path):
    """MindSpore's own reader refuses a header in any other order."""
    write_checkpoint(tmp_path / "x.safetensors", {"odd": TENSORS["odd"], "steps": TENSORS["steps"]})
    with open_checkpoint(tmp_path / "x.safetensors") as tensors:
        assert list(tensors) == ["steps", "odd"]
        assert all(entry.numpy().flags.aligned for entry in tensors.values())


@pytest.mark.parametrize("ending", [".ckpt", ".safetensors", ".pth"])
def test_progress_counts_every_byte(ending, tmp_path):
    counted: list[int] = []
    write_checkpoint(tmp_path / f"x{ending}", fit_for(ending), progress=counted.append)
    sizes = [e.array.nbytes // (2 if e.dtype == "bfloat16" else 1) for e in fit_for(ending).values()]
    assert sum(counted) == sum(sizes)


class Interrupting(Held):
    def numpy(self) -> np.ndarray:
        raise KeyboardInterrupt


class Wrong(Held):
    def numpy(self) -> np.ndarray:
        return np.ones(4, np.float64)


@pytest.mark.parametrize("ending", [".ckpt", ".safetensors", ".pth"])
@pytest.mark.parametrize(("entry", "error"), [(Interrupting, KeyboardInterrupt), (Wrong, ValueError)])
def test_a_failure_leaves_the_old_file_and_no_other(ending, entry, error, tmp_path):
    path = tmp_path / f"x{ending}"
    path.write_bytes(b"old")
    tensors = {"first": TENSORS["odd"], "second": entry(np.ones(4, np.float32), "float32")}
    with pytest.raises(error):
        write_checkpoint(path, tensors)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_the_file_gets_the_usual_permissions(tmp_path):
    write_checkpoint(tmp_path / "x.pth", {"x": TENSORS["odd"]})
    (tmp_path / "usual").touch()
    assert os.stat(tmp_path / "x.pth").st_mode == os.stat(tmp_path / "usual").st_mode


@pytest.mark.parametrize(
    ("name", "tensors", "more", "sentence"),
    [
        ("x.onnx", TENSORS, {}, "ending '.onnx' is none of .ckpt, .safetensors"),
        ("x.pth", TENSORS, {"container": "hdf5"}, "container 'hdf5' is none of"),
        ("none/x.pth", TENSORS, {}, "folder .*none does not exist"),
        ("x.pth", {}, {}, "no tensors"),
        ("x.pth", TENSORS, {"metadata": {"a": "b"}}, "metadata can't be stored"),
        ("x.ckpt", TENSORS, {}, "complex64, which a MindSpore checkpoint can't hold"),
        ("x.ckpt", {"x": drawn("float32", (0,))}, {}, "load as a scalar"),
        ("x.ckpt", {"x": TENSORS["odd"]}, {"metadata": {"x": "b"}}, "name of a tensor"),
        ("x.pth", {"x": Held(np.ones(2), "float8_e4m3fn")}, {}, "float8_e4m3fn, which a PyTorch file can't hold"),
    ],
)
def test_what_can_not_be_written_is_said_in_a_sentence(name, tensors, more, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        write_checkpoint(tmp_path / name, tensors, **more)
    assert not list(tmp_path.iterdir())


def test_mindspore_loads_its_checkpoint(tmp_path):
    expected = {name: entry for name, entry in fit_for(".ckpt").items() if entry.dtype != "bfloat16"}
    write_checkpoint(tmp_path / "x.ckpt", expected, metadata={"note": "héllo", "nothing": ""})
    loaded = mindspore.load_checkpoint(str(tmp_path / "x.ckpt"))
    assert loaded.pop("note") == "héllo" and loaded.pop("nothing") == ""
    assert list(loaded) == list(expected)
    for name, parameter in loaded.items():
        array = parameter.asnumpy()
        assert array.dtype == expected[name].array.dtype and array.shape == expected[name].shape
        assert array.tobytes() == expected[name].array.tobytes()


def test_mindspore_loads_its_safetensors(tmp_path):
    names = [name for name, entry in TENSORS.items() if entry.dtype in ("float32", "float16", "int64", "uint8")]
    expected = {name: TENSORS[name] for name in names if 0 not in TENSORS[name].shape}
    write_checkpoint(tmp_path / "x.safetensors", expected)
    loaded = mindspore.load_checkpoint(str(tmp_path / "x.safetensors"), format="safetensors")
    for name, entry in expected.items():
        assert loaded[name].asnumpy().tobytes() == entry.array.tobytes()

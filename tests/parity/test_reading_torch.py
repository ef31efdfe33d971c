"""Files that PyTorch itself wrote are read as PyTorch reads them, and those we write are what it expects."""

import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from convert import CheckpointError, open_checkpoint
from convert.writing import write_checkpoint

DTYPES = (
    "float32 float64 float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64 complex128"
).split()


def state() -> OrderedDict:
    """Every element type and every kind of view."""
    torch.manual_seed(0)
    base = torch.randn(6, 8)
    found = OrderedDict((f"dtypes.{name}", (torch.rand(3, 5) * 9).to(getattr(torch, name))) for name in DTYPES)
    return found | {
        "base": base,
        "tied": base,
        "transposed": base.t(),
        "offset": base[2:4, 3:],
        "stepped": base[::2, ::3],
        "expanded": base[:1].expand(5, 8),
        "channels_last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(3.5),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "conjugate": torch.randn(3, dtype=torch.complex64).conj(),
        "negative": torch.randn(3, dtype=torch.complex64).conj().imag,
    }


def as_array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().resolve_conj().resolve_neg()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def assert_read(path, expected: dict[str, torch.Tensor], container: str) -> None:
    with open_checkpoint(path) as tensors:
        assert tensors.container == container
        assert list(tensors) == list(expected)
        for name, tensor in expected.items():
            entry = tensors[name]
            assert (entry.shape, f"torch.{entry.dtype}") == (tuple(tensor.shape), str(tensor.dtype)), name
            array = as_array(tensor)
            assert entry.numpy().dtype == array.dtype
            assert entry.numpy().tobytes() == array.tobytes(), name


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_save(zipped, wrapper, tmp_path):
    saved = state() if wrapper is None else {wrapper: state(), "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
    torch.save(saved, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    assert_read(tmp_path / "x.pth", state(), "zip" if zipped else "legacy")


def test_a_repacked_archive_and_one_in_another(tmp_path):
    torch.save(state(), tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as old, zipfile.ZipFile(tmp_path / "y.pth", "w", 8) as new:
        for record in old.infolist():
            new.writestr(record.filename, old.read(record))
    assert_read(tmp_path / "y.pth", state(), "zip")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w", zipfile.ZIP_DEFLATED) as outer:
        outer.write(tmp_path / "x.pth", "folder/x.pth")
    assert_read(tmp_path / "outer.zip", state(), "zip in a zip")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_dump_of_tensors(protocol, tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"model": dict(state()), "__author__": "x"}, protocol))
    assert_read(tmp_path / "x.pkl", state(), "pickle")


def test_big_endian_archives(tmp_path, monkeypatch):
    tensor = torch.arange(6, dtype=torch.float32)
    swapped = torch.from_numpy(tensor.numpy().byteswap())
    monkeypatch.setattr("sys.byteorder", "big")
    torch.save({"x": swapped}, tmp_path / "x.pth")
    monkeypatch.undo()
    assert_read(tmp_path / "x.pth", {"x": torch.load(tmp_path / "x.pth")["x"]}, "zip")
    assert_read(tmp_path / "x.pth", {"x": tensor}, "zip")


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.scale, self.sizes, self.nothing = 2.5, [1, 2], None
        self.register_buffer("cache", torch.ones(2).half(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)) * self.scale


class Clip(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.logit_scale = torch.nn.Parameter(torch.tensor(4.6))
        self.visual = Block()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2)])
        for name, value in (("input_resolution", 224), ("context_length", 77), ("vocab_size", 49408)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.visual(x) * self.logit_scale


@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript_archives(how, tmp_path):
    model = Clip().eval()
    scripted = torch.jit.script(model) if how == "script" else torch.jit.trace(model, torch.ones(1, 3, 5, 5))
    scripted.save(str(tmp_path / "x.pt"))
    assert_read(tmp_path / "x.pt", torch.jit.load(tmp_path / "x.pt").state_dict(), "torchscript")


@pytest.mark.parametrize("zipped", [True, False])
def test_whole_pickled_modules(zipped, tmp_path):
    model = Clip()
    torch.save({"model": model, "epoch": 3}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    assert_read(tmp_path / "x.pth", model.state_dict(), "zip" if zipped else "legacy")


def test_safetensors(tmp_path):
    expected = {name: tensor.detach().clone() for name, tensor in state().items() if tensor.dtype != torch.complex128}
    expected = {name: tensor.resolve_conj().resolve_neg().contiguous() for name, tensor in expected.items()}
    save_file(expected, tmp_path / "x.safetensors", metadata={"format": "pt"})
    with open_checkpoint(tmp_path / "x.safetensors") as tensors:
        assert set(tensors) == set(expected) and tensors.metadata == {"format": "pt"}
        for name, tensor in expected.items():
            assert tensors[name].numpy().tobytes() == as_array(tensor).tobytes()


def test_what_numpy_lacks_is_refused_by_name(tmp_path):
    unreadable = {
        "qint8": torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint8),
        "float8_e5m2": torch.ones(3).to(torch.float8_e5m2),
        "sparse": torch.eye(3).to_sparse(),
        "meta": torch.ones(3, device="meta"),
        "complex32": torch.ones(3, dtype=torch.complex32),
    }
    torch.save(unreadable | {"fine": torch.ones(2)}, tmp_path / "x.pth")
    with open_checkpoint(tmp_path / "x.pth") as tensors:
        assert tensors["fine"].numpy().tolist() == [1, 1]
        for name in unreadable:
            with pytest.raises(CheckpointError, match=f"tensor '{name}' is of type {name}"):
                tensors[name].numpy()


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_load_reads_what_we_write(mmap, tmp_path):
    torch.save(state(), tmp_path / "x.pth")
    with open_checkpoint(tmp_path / "x.pth") as tensors:
        write_checkpoint(tmp_path / "y.pth", tensors)
    loaded = torch.load(tmp_path / "y.pth", weights_only=True, mmap=mmap)
    assert list(loaded) == list(state())
    for name, tensor in state().items():
        assert loaded[name].dtype == tensor.dtype and loaded[name].is_contiguous()
        assert as_array(loaded[name]).tobytes() == as_array(tensor).tobytes()


def test_the_safetensors_package_reads_what_we_write(tmp_path):
    expected = {name: tensor for name, tensor in state().items() if tensor.dtype != torch.complex128}
    torch.save(expected, tmp_path / "x.pth")
    with open_checkpoint(tmp_path / "x.pth") as tensors:
        write_checkpoint(tmp_path / "y.safetensors", tensors, metadata={"format": "pt"})
    loaded = load_file(tmp_path / "y.safetensors")
    assert set(loaded) == set(expected)
    for name, tensor in expected.items():
        assert loaded[name].dtype == tensor.dtype and as_array(loaded[name]).tobytes() == as_array(tensor).tobytes()

"""PyTorch's zip and TorchScript archives: every element type, every kind of view, and records that lie."""

import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from convert import CheckpointError, open_checkpoint
from tests.convert.reading import files
from tests.convert.reading.files import Call, Name, Storage, Tensor, tensor
from tests.work import bounded_work

BASE = np.arange(24, dtype=np.float32).reshape(4, 6)


@pytest.fixture
def opened(tmp_path):
    """Writes bytes to a file and opens it."""
    kept = []

    def open_bytes(data: bytes):
        path = tmp_path / "model.pth"
        path.write_bytes(data)
        kept.append(open_checkpoint(path))
        return kept[-1]

    yield open_bytes
    for checkpoint in kept:
        checkpoint.close()


def refused(opened, data: bytes, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        for entry in opened(data).values():
            entry.numpy()


@pytest.mark.parametrize("dtype", list(files.KINDS))
@pytest.mark.parametrize("byteorder", [None, "little", "big"])
def test_every_element_type_in_both_byte_orders(dtype, byteorder, opened):
    array = (np.arange(6).reshape(2, 3) - (0 if dtype == "uint8" else 2)).astype(dtype)
    if array.dtype.kind == "c":
        array = array + np.array(1j, dtype)
    entry = opened(files.torch_zip({"x": tensor(array, byteorder == "big")}, byteorder=byteorder))["x"]
    assert entry.dtype == dtype and entry.shape == (2, 3)
    assert entry.numpy().dtype == array.dtype
    np.testing.assert_array_equal(entry.numpy(), array)


def test_bfloat16_is_widened_exactly(opened):
    halves = np.array([0x3F80, 0xC000, 0x7F80, 0x7FC1, 0x0001], np.uint16)
    entry = opened(files.torch_zip({"x": Tensor(Storage(halves.tobytes(), "BFloat16Storage"), (5,), (1,))}))["x"]
    assert entry.dtype == "bfloat16"
    assert entry.numpy().dtype == np.float32
    np.testing.assert_array_equal(entry.numpy().view(np.uint32), halves.astype(np.uint32) << 16)
    scalar = opened(files.torch_zip({"x": Tensor(Storage(b"\x80\x3f", "BFloat16Storage"), (), ())}))["x"].numpy()
    assert isinstance(scalar, np.ndarray) and scalar.shape == () and scalar == 1


def test_types_without_a_storage_class_are_views_of_bytes(opened):
    array = np.array([1, 60000], np.uint16)
    view = Tensor(Storage(array.tobytes(), "UntypedStorage"), (2,), (1,), 0, "_rebuild_tensor_v3")
    view.more = (False, OrderedDict(), Name("torch", "uint16"))
    entry = opened(files.torch_zip({"x": view}))["x"]
    assert entry.dtype == "uint16"
    np.testing.assert_array_equal(entry.numpy(), array)


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_views_of_one_storage(packing, opened):
    storage = Storage(BASE.tobytes())
    tensors = opened(
        files.torch_zip(
            {
                "whole": Tensor(storage, (4, 6), (6, 1)),
                "transposed": Tensor(storage, (6, 4), (1, 6)),
                "offset": Tensor(storage, (2, 3), (6, 1), 8),
                "stepped": Tensor(storage, (2, 3), (12, 2)),
                "expanded": Tensor(storage, (5, 6), (0, 1)),
                "scalar": Tensor(storage, (), (), 7),
                "empty": Tensor(storage, (0, 6), (6, 1), 24),
            },
            packing=packing,
        )
    )
    arrays = {name: entry.numpy() for name, entry in tensors.items()}
    np.testing.assert_array_equal(arrays["whole"], BASE)
    np.testing.assert_array_equal(arrays["transposed"], BASE.T)
    np.testing.assert_array_equal(arrays["offset"], BASE[1:3, 2:5])
    np.testing.assert_array_equal(arrays["stepped"], BASE[::2, ::2])
    np.testing.assert_array_equal(arrays["expanded"], np.broadcast_to(BASE[0], (5, 6)))
    assert arrays["scalar"].shape == () and arrays["scalar"] == 7
    assert arrays["empty"].shape == (0, 6)
    for name in ("transposed", "offset", "stepped", "expanded", "scalar"):
        assert np.shares_memory(arrays["whole"], arrays[name]), f"{name} was read a second time"


@pytest.mark.parametrize("array", [np.array([1 + 2j, 3 - 4j], np.complex64), np.array(1 + 2j)])
def test_a_conjugate_or_negative_view_is_resolved(array, opened):
    view = tensor(array)
    view.more = (False, OrderedDict(), {"conj": True, "neg": True})
    read = opened(files.torch_zip({"x": view}))["x"].numpy()
    assert isinstance(read, np.ndarray) and read.dtype == array.dtype
    np.testing.assert_array_equal(read, -array.conj())


def test_parameters_and_tensors_of_subclasses_are_unwrapped(opened):
    inner = tensor(BASE)
    rebuilt = (inner.storage, 0, inner.shape, inner.strides, False, OrderedDict())
    tensors = opened(
        files.torch_zip(
            {
                "parameter": Call(Name("torch._utils", "_rebuild_parameter"), inner, True, OrderedDict()),
                "subclass": Call(
                    Name("torch._tensor", "_rebuild_from_type_v2"),
                    Name("torch._utils", "_rebuild_tensor_v2"),
                    Name("timm", "Weight"),
                    rebuilt,
                    {},
                ),
            }
        )
    )
    for name in ("parameter", "subclass"):
        np.testing.assert_array_equal(tensors[name].numpy(), BASE)


def test_a_checkpoint_opens_without_reading_a_storage(opened):
    """The records of the storages are taken for what the directory says until they are asked for."""
    damaged = files.torch_zip({"x": tensor(np.zeros((64, 64), np.float32))}, packing=zipfile.ZIP_DEFLATED)
    at = damaged.find(b"archive/data/0") + len("archive/data/0") + 4
    damaged = damaged[:at] + b"\xff\xff" + damaged[at + 2 :]
    entry = opened(damaged)["x"]
    assert entry.shape == (64, 64)
    with pytest.raises(CheckpointError, match=r"record 'archive/data/0'"):
        entry.numpy()


@pytest.mark.parametrize(
    ("view", "sentence"),
    [
        (Tensor(Storage(b"\0" * 16), (5,), (1,)), "reaches to byte 20"),
        (Tensor(Storage(b"\0" * 16), (4,), (1,), 1), "reaches to byte 20"),
        (Tensor(Storage(b"\0" * 16), (2, 2), (4, 1)), "reaches to byte 24"),
        (Tensor(Storage(b"\0" * 16), (2,), (-1,), 2), "negative"),
        (Tensor(Storage(b"\0" * 16), (2,), (1,), -1), "negative"),
        (Tensor(Storage(b"\0" * 16), (-2,), (1,)), "negative"),
        (Tensor(Storage(b"\0" * 16), (2, 2), (1,)), "do not fit"),
        (Tensor(Storage(b"\0" * 16), ("2",), (1,)), "do not fit"),
        (Tensor(Storage(b"\0" * 16), (1,) * 40, (1,) * 40), "40 dimensions"),
        (Tensor(Storage(b"\0" * 16), (1 << 40,), (0,)), "expands to"),
        (Tensor(Storage(b"\0" * 16), (0, 1 << 61), (1, 1)), "beyond any memory"),
        (Tensor(Storage(b"\0" * 16), (1 << 70,), (0,)), "senseless"),
        (Tensor(Storage(b"\0" * 16, count=8), (4,), (1,)), "has 16 bytes, its float32 elements take 32"),
        (Tensor(Storage(b"\0" * 16, count=2), (2,), (1,)), "has 16 bytes, its float32 elements take 8"),
        (Tensor(Storage(b"\0" * 16, count=-4), (4,), (1,)), "storage of '-4' elements"),
        (Tensor("no storage", (4,), (1,)), "arguments that are not understood"),
    ],
)
def test_a_view_that_leaves_its_storage_is_refused(view, sentence, opened):
    refused(opened, files.torch_zip({"x": view}), sentence)


def test_a_missing_record_is_named(opened):
    data, _ = files.pickled({"x": tensor(BASE)})
    refused(opened, files.zipped({"a/data.pkl": data, "a/version": b"3"}), "record 'a/data/0' is missing")


def test_an_unknown_byte_order_is_refused(opened):
    refused(opened, files.torch_zip({"x": tensor(BASE)}, byteorder="middle"), "neither little nor big")


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (
            Tensor(Storage(b"\1\2", "QInt8Storage"), (2,), (1,), 0, "_rebuild_qtensor", ((0, 1.0, 0), False, {})),
            "tensor 'bad' is of type qint8",
        ),
        (
            Tensor(
                Storage(b"\1\2", "UntypedStorage"),
                (2,),
                (1,),
                0,
                "_rebuild_tensor_v3",
                (False, {}, Name("torch", "float8_e4m3fn")),
            ),
            "tensor 'bad' is of type float8_e4m3fn",
        ),
        (
            Call(Name("torch._utils", "_rebuild_sparse_tensor"), 0, (tensor(BASE), tensor(BASE), (3, 3))),
            "tensor 'bad' is of type sparse",
        ),
    ],
)
def test_what_has_no_numpy_equal_is_refused_by_name_when_it_is_read(value, named, opened):
    tensors = opened(files.torch_zip({"good": tensor(BASE), "bad": value}))
    np.testing.assert_array_equal(tensors["good"].numpy(), BASE)
    with pytest.raises(CheckpointError, match=named):
        tensors["bad"].numpy()


def test_a_torchscript_archive_becomes_the_names_of_its_state_dict(opened):
    tensors = opened(
        files.torchscript(
            {
                "training": False,
                "logit_scale": tensor(np.array(4.6, np.float32)),
                "input_resolution": tensor(np.array(224)),
                "name": "clip",
                "sizes": Call(Name("torch.jit._pickle", "build_intlist"), [1, 2]),
                "visual": {
                    "proj": tensor(BASE.astype(np.float16)),
                    "transformer": {"resblocks": {"0": {"attn": {"in_proj_weight": tensor(BASE)}}}},
                },
            }
        )
    )
    assert tensors.container == "torchscript"
    assert {name: (entry.shape, entry.dtype) for name, entry in tensors.items()} == {
        "logit_scale": ((), "float32"),
        "input_resolution": ((), "int64"),
        "visual.proj": ((4, 6), "float16"),
        "visual.transformer.resblocks.0.attn.in_proj_weight": ((4, 6), "float32"),
    }
    assert tensors["input_resolution"].numpy() == 224


@pytest.mark.parametrize("count", [15, 1500])
def test_each_tensor_is_opened_with_the_same_work_however_many_there_are(opened, count):
    data = files.torch_zip({f"layers.{index}.weight": tensor(BASE) for index in range(count)})
    with bounded_work(lines=1100 * count, memory=(4 * count + 64) << 10):
        assert len(opened(data)) == count


def test_pickles_of_every_binary_protocol_are_read(opened):
    for protocol in (2, 3, 4, 5):
        data, storages = files.pickled({"x": tensor(BASE), "n": pickle.MARK * 300}, protocol)
        records = {"a/data.pkl": data, "a/data/0": storages["0"].data, "a/version": b"3"}
        np.testing.assert_array_equal(opened(files.zipped(records))["x"].numpy(), BASE)

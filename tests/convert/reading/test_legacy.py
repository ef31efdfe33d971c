"""The stream of PyTorch before 1.6, the tar of 0.1, and storages that `pickle.dump` wrote."""

import io
import pickle
import struct
import tarfile

import numpy as np
import pytest

from convert import CheckpointError, open_checkpoint
from tests.convert.reading import files
from tests.convert.reading.files import Call, Name, Storage, Tensor, tensor

BASE = np.arange(12, dtype=np.float32).reshape(3, 4)


def read(tmp_path, data: bytes) -> dict[str, np.ndarray]:
    path = tmp_path / "model.pth"
    path.write_bytes(data)
    with open_checkpoint(path) as tensors:
        return {name: entry.numpy() for name, entry in tensors.items()}


def test_storages_are_found_behind_the_pickles(tmp_path):
    storage = Storage(BASE.tobytes())
    arrays = read(
        tmp_path,
        files.legacy_stream(
            {
                "state_dict": {
                    "whole": Tensor(storage, (3, 4), (4, 1)),
                    "transposed": Tensor(storage, (4, 3), (1, 4)),
                    "long": tensor(np.array(7)),
                    "empty": tensor(np.zeros((0, 2), np.float64)),
                }
            }
        ),
    )
    np.testing.assert_array_equal(arrays["whole"], BASE)
    np.testing.assert_array_equal(arrays["transposed"], BASE.T)
    assert np.shares_memory(arrays["whole"], arrays["transposed"])
    assert arrays["long"].shape == () and arrays["long"] == 7
    assert arrays["empty"].shape == (0, 2)


def test_views_of_storages_in_persistent_ids(tmp_path):
    view = Storage(BASE.tobytes(), view=("view", 4, 4))
    np.testing.assert_array_equal(read(tmp_path, files.legacy_stream({"x": Tensor(view, (4,), (1,))}))["x"], BASE[1])
    beyond = Storage(BASE.tobytes(), view=("view", 10, 4))
    with pytest.raises(CheckpointError, match="reaches beyond"):
        read(tmp_path, files.legacy_stream({"x": Tensor(beyond, (4,), (1,))}))


def test_the_source_code_of_a_module_is_left_alone(tmp_path):
    """Old files carry each class of a pickled module with its source in a persistent id."""
    pid = b"(X\6\0\0\0modulecm\nNet\nX\4\0\0\0n.pyX\4\0\0\0boomtQ)\x81}X\x0b\0\0\0_parameters"
    stream = files.legacy_stream({"weight": tensor(BASE)})
    data, _ = files.pickled({"weight": tensor(BASE)}, legacy=True)
    wrapped = data[:2] + pid + data[2:-1] + b"sb."
    np.testing.assert_array_equal(read(tmp_path, stream.replace(data, wrapped))["weight"], BASE)


def test_a_stream_cut_anywhere_is_refused(tmp_path):
    data = files.legacy_stream({"weight": tensor(BASE)})
    for length in range(1, len(data)):
        with pytest.raises(CheckpointError):
            read(tmp_path, data[:length])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (struct.pack("<q", 12), struct.pack("<q", 11), "has 44 bytes in place of 48"),
        (struct.pack("<q", 12), struct.pack("<q", -1), "cut off"),
        (struct.pack("<q", 12), struct.pack("<q", 1 << 60), "cut off"),
        (pickle.dumps(1001, 2), pickle.dumps(1002, 2), "legacy protocol '1002'"),
        (pickle.dumps(["0"], 2), pickle.dumps([], 2), "storage '0' is missing"),
        (pickle.dumps(["0"], 2), pickle.dumps(["1"], 2), "which it does not use"),
        (pickle.dumps(["0"], 2), pickle.dumps(3, 2), "no list of storage keys"),
    ],
)
def test_a_stream_that_lies_is_refused(old, new, sentence, tmp_path):
    data = files.legacy_stream({"weight": tensor(BASE)})
    assert data.count(old) == 1
    with pytest.raises(CheckpointError, match=sentence):
        read(tmp_path, data.replace(old, new))


def test_storages_in_byte_strings_of_a_plain_pickle(tmp_path):
    """`pickle.dump(state_dict)` stores each storage as a whole file of its own; Swin's .pkl for Mask2Former does."""
    blob = files.legacy_stream(Storage(BASE.tobytes()))
    storage = Call(Name("torch.storage", "_load_from_bytes"), blob)
    data, _ = files.pickled({"model": {"weight": Tensor(storage, (3, 4), (4, 1))}, "__author__": "third_party"})
    np.testing.assert_array_equal(read(tmp_path, data)["weight"], BASE)
    nested = files.pickled(Call(Name("torch.storage", "_load_from_bytes"), data))[0]
    with pytest.raises(CheckpointError):
        read(tmp_path, nested)


def tar_file(**changes: bytes) -> bytes:
    """A file of PyTorch 0.1 with one storage, a view of it, and two tensors."""
    storage = files.pickled((10, "cpu", Name("torch", "FloatStorage")))[0] + struct.pack("<q", 12) + BASE.tobytes()
    tensors = b"".join(
        files.pickled((key, of, Name("torch", "FloatTensor")))[0]
        + struct.pack("<i4x", len(shape))
        + struct.pack(f"<{2 * len(shape) + 1}q", *shape, *strides, offset)
        for key, of, shape, strides, offset in ((20, 10, (4, 3), (1, 4), 0), (21, 11, (2,), (1,), 1))
    )
    members = {
        "sys_info": pickle.dumps({}, 2),
        "storages": pickle.dumps(1, 2) + storage + pickle.dumps([(11, 10, 4, 4)], 2),
        "tensors": pickle.dumps(2, 2) + tensors,
        "pickle": b"\x80\x02}(X\1\0\0\0tK\x14QX\1\0\0\0vK\x15Qu.",
    } | changes
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            information = tarfile.TarInfo(name)
            information.size = len(data)
            archive.addfile(information, io.BytesIO(data))
    return file.getvalue()


def test_the_tar_of_pytorch_0_1(tmp_path):
    arrays = read(tmp_path, tar_file())
    np.testing.assert_array_equal(arrays["t"], BASE.T)
    np.testing.assert_array_equal(arrays["v"], BASE.reshape(-1)[5:7])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pickle": b"\x80\x02}(X\1\0\0\0tK\x63Qu."}, "missing object '99'"),
        ({"storages": pickle.dumps(1, 2)}, "cut off"),
        ({"storages": pickle.dumps(-1, 2)}, "begin with a count"),
        ({"tensors": pickle.dumps(1, 2) + pickle.dumps((20, 99, 0), 2)}, "description is not understood"),
    ],
)
def test_a_tar_that_lies_is_refused(changes, sentence, tmp_path):
    with pytest.raises(CheckpointError, match=sentence):
        read(tmp_path, tar_file(**changes))


def test_any_other_tar_is_refused(tmp_path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:") as archive:
        archive.addfile(tarfile.TarInfo("readme"))
    with pytest.raises(CheckpointError, match="without the member 'storages'"):
        read(tmp_path, file.getvalue())

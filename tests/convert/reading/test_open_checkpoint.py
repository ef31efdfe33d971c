"""The door: containers told apart by content, and one sentence for everything that is none."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from convert import CheckpointError, Entry, open_checkpoint
from tests.convert.reading import files

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def written(folder: Path, data: bytes, name: str = "checkpoint") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def every_container() -> dict[str, bytes]:
    state = {"weight": files.tensor(WEIGHT)}
    zipped = files.torch_zip(state)
    header = b'{"weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
    return {
        "zip": zipped,
        "legacy": files.legacy_stream(state),
        "torchscript": files.torchscript({"weight": files.tensor(WEIGHT)}),
        "safetensors": files.safetensors(header, WEIGHT.tobytes()),
        "pickle": files.pickled({"model": {"weight": WEIGHT}})[0],
        "npz": files.zipped({"weight.npy": _npy(WEIGHT)}),
        "mindspore": files.mindspore_value(b"weight", [2, 3], b"Float32", WEIGHT.tobytes()),
        "zip in a zip": files.zipped({"readme.txt": b"hello", "a/b.pth": zipped}),
        "legacy in a zip": files.zipped({"b.pth": files.legacy_stream(state)}, zipfile.ZIP_DEFLATED),
    }


def _npy(array: np.ndarray) -> bytes:
    import io

    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("container", list(every_container()))
@pytest.mark.parametrize("ending", [".pth", ".safetensors", ""])
def test_the_container_is_found_by_content_whatever_the_ending(container, ending, tmp_path):
    path = written(tmp_path, every_container()[container], f"model{ending}")
    with open_checkpoint(path) as tensors:
        assert tensors.container == container
        assert list(tensors) == ["weight"]
        entry = tensors["weight"]
        assert isinstance(entry, Entry) and entry.shape == (2, 3) and entry.dtype == "float32"
        np.testing.assert_array_equal(entry.numpy(), WEIGHT)


@pytest.mark.parametrize("container", list(every_container()))
def test_arrays_do_not_let_the_file_be_changed(container, tmp_path):
    path = written(tmp_path, every_container()[container])
    before = path.read_bytes()
    with open_checkpoint(path) as tensors:
        array = tensors["weight"].numpy()
        with pytest.raises(ValueError):
            array[:] = 0
    np.testing.assert_array_equal(array, WEIGHT)  # an array outlives the checkpoint
    assert path.read_bytes() == before


def test_an_entry_can_not_be_read_after_closing(tmp_path):
    with open_checkpoint(written(tmp_path, every_container()["zip"])) as tensors:
        entry = tensors["weight"]
    tensors.close()
    with pytest.raises(CheckpointError, match="was closed"):
        entry.numpy()


def test_the_temporary_file_of_a_packed_inner_checkpoint_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with open_checkpoint(written(tmp_path, every_container()["legacy in a zip"])):
        pass
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git-LFS pointer"),
        (b"\n <!DOCTYPE html><html></html>", "web page"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b'{"weight_map": {}}', "JSON"),
        (b"\x93NUMPY\x01\x00", "single NumPy array"),
        (b"any other text", "no known container"),
    ],
)
def test_what_is_no_checkpoint_is_said_in_a_sentence(data, sentence, tmp_path):
    path = written(tmp_path, data, "model.pth")
    with pytest.raises(CheckpointError, match=sentence) as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        open_checkpoint(tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        open_checkpoint(tmp_path)
    with pytest.raises(CheckpointError):
        open_checkpoint("nul\0byte.pth")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(CheckpointError, match="not a regular file"):
        open_checkpoint(tmp_path / "pipe.pth")


def test_several_checkpoints_in_an_archive_are_refused_with_their_names(tmp_path):
    inner = every_container()["zip"]
    with pytest.raises(CheckpointError, match=r"'one\.pth', 'two\.pth'"):
        open_checkpoint(written(tmp_path, files.zipped({"one.pth": inner, "two.pth": inner})))
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        open_checkpoint(written(tmp_path, files.zipped({"readme.txt": b"hello"})))


def test_archives_are_not_opened_without_end(tmp_path):
    nested = files.zipped({"a.zip": files.zipped({"b.zip": every_container()["zip"]})})
    with pytest.raises(CheckpointError, match="inside another"):
        open_checkpoint(written(tmp_path, nested))


def test_reading_needs_neither_torch_nor_mindspore():
    import subprocess
    import sys

    code = "import sys, convert.writing; print({'torch', 'mindspore', 'ms_seg', 'safetensors'} & set(sys.modules))"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

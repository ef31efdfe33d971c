"""Files that appear when they are whole."""

from __future__ import annotations

import pytest

from convert.atomic import whole_file


def test_a_file_has_its_name_when_it_is_whole(tmp_path):
    with whole_file(tmp_path / "a.txt") as draft:
        draft.write_text("all of it")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "all of it"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_leaves_nothing_and_names_the_file(tmp_path):
    with pytest.raises(OSError) as caught, whole_file(tmp_path / "a.png") as draft:
        draft.write_bytes(b"half")
        raise OSError(28, "No space left on device")  # as a write does, which knows no name
    assert caught.value.filename == str(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_an_error_that_names_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, whole_file(tmp_path / "a.png"):
        (tmp_path / "nowhere").read_bytes()
    assert caught.value.filename == str(tmp_path / "nowhere")

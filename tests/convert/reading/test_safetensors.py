"""Safetensors, whose header must describe every byte once."""

import json

import numpy as np
import pytest

from convert import CheckpointError, open_checkpoint
from tests.convert.reading import files

DATA = np.arange(6, dtype=np.float32).tobytes()
WEIGHT = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def opened(tmp_path, header: object, data: bytes = DATA):
    path = tmp_path / "model.safetensors"
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(files.safetensors(text, data))
    return open_checkpoint(path)


def test_names_stay_in_the_header_s_order_and_metadata_is_kept(tmp_path):
    header = {
        "__metadata__": {"format": "pt"},
        "second": {"dtype": "I64", "shape": [], "data_offsets": [16, 24]},
        "first": {"dtype": "BF16", "shape": [2, 4], "data_offsets": [0, 16]},
        "empty": {"dtype": "F16", "shape": [0, 3], "data_offsets": [16, 16]},
    }
    with opened(tmp_path, header) as tensors:
        assert list(tensors) == ["second", "first", "empty"] and tensors.metadata == {"format": "pt"}
        assert tensors["first"].dtype == "bfloat16" and tensors["first"].numpy().dtype == np.float32
        assert tensors["second"].numpy() == np.frombuffer(DATA, np.int64)[2]
        assert tensors["empty"].numpy().shape == (0, 3)


def test_float8_is_listed_and_refused_by_name(tmp_path):
    with opened(tmp_path, {"x": {"dtype": "F8_E4M3", "shape": [24], "data_offsets": [0, 24]}}) as tensors:
        assert tensors["x"].dtype == "float8_e4m3fn"
        with pytest.raises(CheckpointError, match="tensor 'x' is of type float8_e4m3fn"):
            tensors["x"].numpy()


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ({"x": WEIGHT | {"data_offsets": [0, 25]}}, "cut off"),
        ({"x": WEIGHT | {"data_offsets": [24, 0]}}, "cut off"),
        ({"x": WEIGHT | {"data_offsets": [-24, 0]}}, "cut off"),
        ({"x": WEIGHT | {"data_offsets": [0]}}, "not described"),
        ({"x": WEIGHT | {"data_offsets": [0, 24.0]}}, "not described"),
        ({"x": WEIGHT | {"shape": [2, 4]}}, "reaches to byte 32"),
        ({"x": WEIGHT | {"shape": [2, 2]}}, "its shape takes 16"),
        ({"x": WEIGHT | {"shape": [-2, -3]}}, "negative"),
        ({"x": WEIGHT | {"shape": [True, 6]}}, "not described"),
        ({"x": WEIGHT | {"shape": [0, 1 << 61]}}, "beyond any memory"),
        ({"x": WEIGHT | {"dtype": "F99"}}, "element type 'F99'"),
        ({"x": WEIGHT, "y": WEIGHT}, "overlaps"),
        ({"x": {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]}}, "gap"),
        ({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, "16 bytes behind"),
        ({"x": WEIGHT, "__metadata__": {"a": 1}}, "no table of texts"),
        ({"x": [1]}, "not described"),
        ({}, "24 bytes behind"),
        (b'{"x": 1, "x": 1}', "same name twice"),
        (b'{"x"', "no JSON"),
        (b'{"x": "\xff"}', "no JSON"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "no JSON"),
        (b'{"x":' + b"9" * 5000 + b"}", "no JSON|not described"),
    ],
)
def test_a_header_that_lies_is_refused(header, sentence, tmp_path):
    with pytest.raises(CheckpointError, match=sentence):
        opened(tmp_path, header)


def test_a_header_longer_than_the_file_or_the_limit_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    for length, sentence in ((1000, "cut off"), (1 << 32, "refused")):
        path.write_bytes(length.to_bytes(8, "little") + b'{"x": 1}')
        with pytest.raises(CheckpointError, match=f"{sentence}|no known container"):
            open_checkpoint(path)

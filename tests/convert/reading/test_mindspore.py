"""MindSpore's own checkpoints, walked without MindSpore."""

import numpy as np
import pytest

from convert import CheckpointError, open_checkpoint
from tests.convert.reading.files import mindspore_value as value

DATA = np.arange(6, dtype=np.float32).tobytes()


def opened(tmp_path, data: bytes):
    path = tmp_path / "model.ckpt"
    path.write_bytes(data)
    return open_checkpoint(path)


def test_parameters_scalars_and_texts(tmp_path):
    text = np.array("héllo")
    data = value(b"backbone.weight", [2, 3], b"Float32", DATA) + value(b"scale", [], b"Float16", b"\0\x3c")
    data += value(b"old_scalar", [0], b"Int64", b"\7" + b"\0" * 7) + value(b"half", [3], b"BFloat16", b"\x80\x3f" * 3)
    data += value(b"note", [0], b"str", text.tobytes()) + b"crc_num" + b"\0" * 10
    with opened(tmp_path, data) as tensors:
        assert tensors.container == "mindspore" and tensors.metadata == {"note": "héllo"}
        assert {name: (entry.shape, entry.dtype) for name, entry in tensors.items()} == {
            "backbone.weight": ((2, 3), "float32"),
            "scale": ((), "float16"),
            "old_scalar": ((), "int64"),
            "half": ((3,), "bfloat16"),
        }
        assert tensors["backbone.weight"].numpy().tobytes() == DATA
        assert tensors["scale"].numpy() == 1 and tensors["old_scalar"].numpy() == 7
        assert tensors["half"].numpy().tolist() == [1, 1, 1]


def test_a_parameter_in_slices_is_put_together(tmp_path):
    slices = value(b"w", [2, 3], b"Float32", DATA[:8]) + value(b"w", [2, 3], b"Float32", DATA[8:])
    with opened(tmp_path, slices + value(b"v", [6], b"Float32", DATA)) as tensors:
        assert tensors["w"].numpy().tobytes() == DATA and tensors["v"].shape == (6,)


def test_element_types_without_an_equal_are_refused_by_name(tmp_path):
    with opened(tmp_path, value(b"w", [3], b"Int4", b"\1\2\3")) as tensors:
        with pytest.raises(CheckpointError, match="parameter 'w' is of type Int4"):
            tensors["w"].numpy()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (value(b"w", [2, 3], b"Float32", DATA)[:-1], "cut off"),
        (value(b"w", [2, 2], b"Float32", DATA), "its shape takes 16"),
        (value(b"w", [2, 4], b"Float32", DATA), "reaches to byte 32"),
        (value(b"w", [1 << 63, 2], b"Float32", DATA), "senseless"),
        (value(b"w", [1] * 65, b"Float32", DATA[:4]), "more than 64 dimensions"),
        (value(b"w", [6], b"Float32", DATA) + value(b"v", [6], b"Float32", DATA) * 2, "'v' has 48 bytes"),
        (value(b"w", [6], b"Float32", DATA) + value(b"v", [6], b"Float32", DATA) + value(b"w", [6], b"Float32", DATA),
         "'w' is twice"),
        (value(b"\xff", [6], b"Float32", DATA), "not UTF-8"),
        (value(b"w", [6], b"Float32", DATA) + b"\x0a" + b"\xff" * 11, "does not end"),
        (value(b"w", [6], b"Float32", DATA) + b"\x0c", "wire type"),
        (value(b"w", [6], b"Float32", DATA) + b"\x12\0", "no checkpoint of MindSpore's"),
    ],
)  # fmt: skip
def test_a_message_that_lies_is_refused(data, sentence, tmp_path):
    with pytest.raises(CheckpointError, match=sentence):
        opened(tmp_path, data)

"""No pickle is ever executed, and none can eat memory, time or the interpreter's stack."""

import os
import pickle
import struct
import sys

import numpy as np
import pytest

from convert import CheckpointError, open_checkpoint
from convert.reading import pickle_machine
from tests.convert.reading import files
from tests.convert.reading.files import Call, Name, tensor
from tests.work import bounded_work

WEIGHT = np.arange(6, dtype=np.float32)


@pytest.fixture
def names_in(tmp_path):
    """The names of the tensors in a zip checkpoint with the given pickle."""

    def names(data: bytes) -> list[str]:
        path = tmp_path / "model.pth"
        path.write_bytes(files.zipped({"a/data.pkl": data, "a/data/0": WEIGHT.tobytes(), "a/version": b"3"}))
        with open_checkpoint(path) as tensors:
            return list(tensors)

    return names


def beside_a_weight(value: object) -> bytes:
    return files.pickled({"weight": tensor(WEIGHT), "other": value})[0]


class Attack:
    def __init__(self, target: object, *arguments: object) -> None:
        self.target, self.arguments = target, arguments

    def __call__(self) -> None:
        raise AssertionError("this object stands for the result of a call in a pickle")

    def __reduce__(self) -> tuple:
        return self.target, self.arguments


@pytest.mark.parametrize(
    "attack",
    [
        Attack(os.system, "touch {marker}"),
        Attack(eval, "open({marker!r}, 'w')"),
        Attack(exec, "open({marker!r}, 'w')"),
        Attack(open, "{marker}", "w"),
        Attack(os.mkdir, "{marker}"),
        Attack(getattr, Attack(__import__, "os"), "system"),
        Attack(Attack(getattr, Attack(__import__, "os"), "mkdir"), "{marker}"),
    ],
    ids=lambda attack: getattr(attack.target, "__name__", "result of a call"),
)
def test_nothing_that_a_pickle_calls_runs(attack, names_in, tmp_path):
    marker = str(tmp_path / "marker")
    attack.arguments = tuple(part.format(marker=marker) if isinstance(part, str) else part for part in attack.arguments)
    with pytest.raises(
        CheckpointError, match=r"would have '(posix|__builtin__|builtins|io)\.\w+' called when PyTorch loads it"
    ):
        names_in(beside_a_weight(attack))
    assert not os.path.exists(marker)


def test_nothing_is_imported_by_name(names_in):
    module = "antigravity"
    assert module not in sys.modules
    assert names_in(beside_a_weight(Call(Name(module, "fly"), "now"))) == ["weight"]
    assert module not in sys.modules


def test_unknown_objects_absorb_whatever_the_pickle_gives_them(names_in):
    body = b"cargparse\nNamespace\n)\x81"  # an object of an unknown class
    for given in (b"}b", b"(K\1K\2u", b"(K\1K\2e", b"K\1K\2s", b"K\1a", b"N}\x86b", b"\x82\x07)R0", b"(K\1\x90"):
        assert names_in(b"\x80\x04}(X\1\0\0\0o" + body + given + b"u" + _weight_item() + b".") == ["weight"]


def _weight_item() -> bytes:
    """The opcodes that put the weight into the dictionary on the stack."""
    data = files.pickled({"weight": tensor(WEIGHT)})[0]
    return data[data.index(b"X\x06\0\0\0weight") : -1]


def test_hyper_parameters_and_history_buffers_are_left_out(names_in):
    namespace = Call(Name("argparse", "Namespace"), state={"lr": 0.1})
    history = Call(Name("mmengine.logging.history_buffer", "HistoryBuffer"), state={"_log_history": np.ones(3)})
    data = files.pickled(
        {"hyper_parameters": namespace, "message_hub": {"loss": history}, "state_dict": {"weight": tensor(WEIGHT)}}
    )[0]
    assert names_in(data) == ["weight"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\x80\x02.", "empty stack"),
        (b"\x80\x02t.", "mark that was not set"),
        (b"\x80\x02h\x05.", "did not memorise"),
        (b"\x80\x02]K\1K\2s.", "no dictionary"),
        (b"\x80\x02K\1K\2a.", "no list"),
        (b"\x80\x02K\1)R.", "as if it were a class"),
        (b"\x80\x02ccollections\nOrderedDict\nK\1\x85R.", "OrderedDict with arguments"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "_rebuild_tensor_v2 with arguments"),
        (b"\x80\x02K\1K\2\x93.", "name of a global is no text"),
        (b"\x80\x02Iabc\n.", "'abc' is no value"),
        (b"\x80\x02I" + b"9" * 5000 + b"\n.", "is no value"),
        (b"\x80\x02K\1Q.", "persistent id"),
        (b"\x80\x09.", "protocol 9"),
        (b"\x80\x02\xff.", "unknown pickle opcode 0xff"),
        (b"\x80\x05\x97.", "unknown pickle opcode 0x97"),
        (b"\x80\x02X\xff\xff\xff\x7fabc", "cut off"),
        (b"\x80\x04\x8e" + b"\xff" * 8, "cut off"),
        (b"\x80\x04\x95" + b"\xff" * 8 + b".", "inside a frame"),
        (b"\x80\x02\x8b" + struct.pack("<i", -5) + b".", "cut off"),
        (b"\x80\x02\x8b" + struct.pack("<i", 5000) + b"\1" * 5000 + b".", "integer of 5000 bytes"),
        (b"\x80\x02cno line feed", "middle of a line"),
        (b"\x80\x02}.", "a dictionary without names"),
        (b"\x80\x02].", "a value of type list"),
    ],
)
def test_a_damaged_pickle_is_refused_in_a_sentence(data, sentence, names_in):
    with pytest.raises(CheckpointError, match=sentence) as caught:
        names_in(data)
    assert "model.pth" in str(caught.value) and len(str(caught.value)) < 600


def test_a_dictionary_inside_itself_is_no_trap(names_in):
    cycle: dict = {"weight": tensor(WEIGHT)}
    cycle["state_dict"] = cycle["model"] = cycle
    assert names_in(files.pickled(cycle)[0]) == ["weight"]
    module = b"\x80\x02cm\nNet\n)\x81q\0}X\x08\0\0\0_modulesq\1}X\1\0\0\0ah\0ssb."
    with pytest.raises(CheckpointError, match="no tensors"):
        names_in(module)


@pytest.mark.parametrize("opener", [b"(", b"]", b"}", b"K\1\x85", b"cm\nC\n)\x81}X\1\0\0\0a"])
def test_deep_nesting_is_harmless(opener, names_in):
    closer = {b"]": b"a", b"}": b"", b"(": b"t", b"K\1\x85": b"\x85"}.get(opener, b"sb")
    depth = 100_000
    body = opener * depth + closer * (depth - 1)
    with pytest.raises(CheckpointError):
        names_in(b"\x80\x02" + body + b".")


def test_a_tuple_nested_deep_as_a_key_is_not_hashed(names_in):
    data = b"\x80\x02}(" + b")" + b"\x85" * 300_000 + b"K\1u" + _weight_item() + b"."
    assert names_in(data) == ["weight"]


def test_shared_modules_do_not_grow_without_end(names_in):
    """Forty dictionaries, each of which holds the one before it twice, would flatten to 2 to the power of 40 names."""
    module: object = Call(Name("m", "Net"), state={"_parameters": {"w": tensor(WEIGHT)}, "_modules": {}})
    for _ in range(40):
        module = Call(Name("m", "Net"), state={"_parameters": {}, "_modules": {"a": module, "b": module}})
    with pytest.raises(CheckpointError, match="more than"):
        names_in(files.pickled(module)[0])


def test_copying_a_list_again_and_again_is_refused(names_in):
    pairs = b"](" + b"K\1K\1\x86" * 20_000 + b"e\x85q\1"
    data = b"\x80\x02]" + pairs + b"(" + b"ccollections\nOrderedDict\nh\1R" * 5000 + b"t."
    with pytest.raises(CheckpointError, match="copies more than"):
        names_in(data)


def test_opcodes_and_memory_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle_machine, "MAX_OPCODES", 100_000)
    data = b"\x80\x04" + b"]\x94" * 5_000_000 + b"."
    path = tmp_path / "model.pth"
    path.write_bytes(files.zipped({"a/data.pkl": data, "a/version": b"3"}))
    with bounded_work(lines=20 * 100_000, memory=2 * len(data)):
        with pytest.raises(CheckpointError, match="more than 100000 opcodes"):
            open_checkpoint(path)


def test_keys_that_are_no_text_are_left_out(names_in):
    weight = tensor(WEIGHT)
    keys = {3: weight, (1, "a"): 1, None: 2, 1.5: 3, b"x": 4, "weight": weight}
    assert names_in(files.pickled(keys)[0]) == ["weight"]


def test_every_opcode_of_the_protocols_is_known():
    import pickletools

    unknown = {op.name for op in pickletools.opcodes if ord(op.code) not in pickle_machine.ACTIONS}
    assert unknown == {"STOP", "NEXT_BUFFER", "READONLY_BUFFER"}  # the latter two refer to buffers outside the file


def test_python_2_pickles_are_read(tmp_path):
    """Text protocols and 8-bit strings: what `pickle.dump(obj, file)` wrote in Python 2."""
    text = b"(dp0\nS'model'\np1\n(dp2\nS'x'\np3\nI5\nsS'L'\nL12L\nsS'F'\nF1.5\nsVu\n(lp4\ns(I01\nI00\nttp5\n.."
    path = tmp_path / "old.pkl"
    path.write_bytes(text)
    with pytest.raises(CheckpointError, match="no tensors of a model|damaged"):
        open_checkpoint(path)
    array = pickle.dumps({"model": {"weight": WEIGHT}}, 0)
    path.write_bytes(array)
    with open_checkpoint(path) as tensors:
        np.testing.assert_array_equal(tensors["weight"].numpy(), WEIGHT)

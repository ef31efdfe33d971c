"""A pickle machine that runs nothing: it builds plain containers, objects of ours, and inert placeholders.

The opcodes are those of `pickletools` (protocols 0 to 5). A global is looked up by the caller's `find`; it is never
imported. Payloads are not copied out of the mapped file unless they are short.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from convert.reading.entry import CheckpointError, shown

MAX_OPCODES = 4_000_000  # about ten times what a checkpoint of 10000 tensors with its optimiser takes
SHORT = 4096  # bytes; a longer string or byte string stays in the file until it is needed
MAX_INTEGER_BYTES = 1024
MAX_KEY = 1 << 16  # numbers below it are keys as they are
STOP = ord(".")
# What no object of a checkpoint is made by: whoever writes their names into a pickle wants them to be run.
HOSTILE = re.compile(
    r"(posix|nt|os|subprocess|pty|shutil|runpy|commands|ctypes)\..+|(_?io|codecs)\.open|socket\.(socket|create_connection)"
    r"|(builtins|__builtin__)\.(eval|exec|execfile|compile|open|file|__import__|input|breakpoint)"
)

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Constructor:
    """A function we know, by its own inert `build`, which gets the arguments the pickle passes."""

    name: str
    build: Callable[[tuple], object]


@dataclass(frozen=True, eq=False)
class Unknown:
    """A class or function we do not know. Calling it makes an `Opaque`, nothing else."""

    name: str


class Opaque:
    """An object of a class that we do not know: it takes what the pickle gives it, and does nothing with it."""

    __slots__ = ("items", "name", "state")

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: object = None
        self.items: dict | None = None


@dataclass(frozen=True, eq=False)
class LongText:
    """A string that stays encoded in the file; Python 2 stored the data of arrays as such."""

    view: memoryview
    encoding: str


class PickleMachine:
    """Runs the pickles that lie one after the other in `data`; `position` is where the next one starts.

    Args:
        data: the bytes, read in place.
        find: gives a `Constructor`, an `Unknown` or any inert value for the name of a global.
        load_persistent: gives the object that a persistent id stands for.
        error: makes the exception for a sentence's end, such as "is cut off."
    """

    def __init__(
        self,
        data: memoryview,
        find: Callable[[str, str], object],
        load_persistent: Callable[[object], object],
        error: Callable[[str], CheckpointError],
        position: int = 0,
    ) -> None:
        self.data = data
        self.position = position
        self.find = find
        self.load_persistent = load_persistent
        self.error = error
        self.opcodes_left = MAX_OPCODES
        self.stack: list = []
        self.marked: list[list] = []  # the stacks below each mark
        self.memo: dict[int, object] = {}

    def load(self) -> object:
        """Build the object of the pickle at `position`, and move behind it."""
        self.stack, self.marked, self.memo = [], [], {}
        while True:
            code = self.take(1)[0]
            if code == STOP:
                return self.pop()
            action = ACTIONS.get(code)
            if action is None:
                raise self.error(f"has the unknown pickle opcode 0x{code:02x} at byte {self.position - 1}.")
            self.opcodes_left -= 1
            if self.opcodes_left < 0:
                raise self.error(f"has more than {MAX_OPCODES} opcodes: refused.")
            action(self)

    # Bytes

    def take(self, nbytes: int) -> memoryview:
        end = self.position + nbytes
        if nbytes < 0 or end > len(self.data):
            raise self.error(f"is cut off: its pickle goes on behind byte {len(self.data)}, where the bytes end.")
        view = self.data[self.position : end]
        self.position = end
        return view

    def number(self, form: struct.Struct) -> Any:
        """The next number, an integer or a float as its form says."""
        return form.unpack(self.take(form.size))[0]

    def line(self) -> bytes:
        """The rest of an opcode of the text protocol, without its line feed."""
        start, found = self.position, -1
        while found < 0:
            if self.position >= len(self.data):
                raise self.error("is cut off in the middle of a line of its pickle.")
            piece = bytes(self.data[self.position : self.position + SHORT])
            found = piece.find(b"\n")
            self.position += len(piece) if found < 0 else found + 1
        return bytes(self.data[start : self.position - 1])

    def line_value(self, convert: Callable[[bytes], Value]) -> Value:
        text = self.line()
        try:
            return convert(text)
        except ValueError:
            raise self.error(f"is damaged: {shown(str(text, 'latin-1'))} is no value.") from None

    # Stack

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        if not self.stack:
            raise self.error("is damaged: it takes a value from an empty stack.")
        return self.stack.pop()

    def top(self) -> object:
        if not self.stack:
            raise self.error("is damaged: it looks at an empty stack.")
        return self.stack[-1]

    def pop_to_mark(self) -> list:
        if not self.marked:
            raise self.error("is damaged: it goes back to a mark that was not set.")
        values, self.stack = self.stack, self.marked.pop()
        return values

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def drop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_to_mark()

    def pop_tuple(self, length: int) -> None:
        self.push(tuple(reversed([self.pop() for _ in range(length)])))

    # Memo

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise self.error("is damaged: it asks for an object that it did not memorise.")
        self.push(self.memo[index])

    def put(self, index: int) -> None:
        self.memo[index] = self.top()

    # Containers

    def set_items(self, values: list) -> None:
        target = self.top()
        if isinstance(target, Opaque):
            target.items = {} if target.items is None else target.items
            target = target.items
        if not isinstance(target, dict) or len(values) % 2:
            raise self.error("is damaged: it sets items of something that is no dictionary.")
        target.update(zip(map(as_key, values[::2]), values[1::2], strict=True))

    def extend(self, values: list) -> None:
        target = self.top()
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Opaque):
            raise self.error("is damaged: it appends to something that is no list.")

    def make_dict(self) -> None:
        values = self.pop_to_mark()
        self.push({})
        self.set_items(values)

    # Objects

    def push_global(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.error("is damaged: the name of a global is no text.")
        self.push(self.find(module, name))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        self.push_global(module, name)

    def call(self, function: object, arguments: object) -> None:
        if isinstance(function, Constructor) and isinstance(arguments, tuple):
            self.push(function.build(arguments))
        elif isinstance(function, Unknown | Opaque):
            if HOSTILE.fullmatch(function.name):
                raise self.error(
                    f"would have {shown(function.name)} called when PyTorch loads it: refused, and not run."
                )
            self.push(Opaque(function.name))
        else:
            raise self.error(f"is damaged: it calls a {type(function).__name__} as if it were a class.")

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        self.call(function, arguments)

    def new_object_with_keywords(self) -> None:
        keywords, arguments, function = self.pop(), self.pop(), self.pop()
        self.call(Unknown("an object with keywords") if keywords else function, arguments)

    def call_marked(self) -> None:
        function, *arguments = self.pop_to_mark() or [None]
        self.call(function, tuple(arguments))

    def call_named(self) -> None:
        self.push_line_global()
        function = self.pop()
        self.call(function, tuple(self.pop_to_mark()))

    def push_line_global(self) -> None:
        module, name = self.line(), self.line()
        self.push_global(module.decode("utf-8", "replace"), name.decode("utf-8", "replace"))

    def build(self) -> None:
        """Give an object its state. The state of anything but placeholders and shells (the metadata that PyTorch
        hangs on a state dict, attributes of tensors) has no meaning for us."""
        state, target = self.pop(), self.top()
        if isinstance(target, Opaque):
            target.state = state
        elif hasattr(target, "set_state"):
            target.set_state(state)

    # Values

    def push_text(self, view: memoryview, encoding: str) -> None:
        self.push(LongText(view, encoding) if len(view) > SHORT else str(view, encoding, "replace"))

    def push_bytes(self, view: memoryview) -> None:
        self.push(view if len(view) > SHORT else bytes(view))

    def push_integer(self, view: memoryview) -> None:
        if len(view) > MAX_INTEGER_BYTES:
            raise self.error(f"has an integer of {len(view)} bytes: refused.")
        self.push(int.from_bytes(view, "little", signed=True))

    def begin(self) -> None:
        protocol = self.take(1)[0]
        if protocol > 5:
            raise self.error(f"is of pickle protocol {protocol}, the highest known is 5.")

    def frame(self) -> None:
        length = self.number(_U64)
        if length > len(self.data) - self.position:
            raise self.error("is cut off inside a frame of its pickle.")


def as_key(value: object) -> object:
    """A key for a dictionary. Text names a tensor, a small number a class; anything else, which could be costly or
    dangerous to hash (tuples nest, large integers are made to collide), is replaced by a placeholder."""
    small = type(value) is int and 0 <= value < MAX_KEY
    return value if small or isinstance(value, str) else Opaque("a key")


def _line_integer(text: bytes) -> int | bool:
    if text in (b"00", b"01"):  # how protocols 0 and 1 write False and True
        return text == b"01"
    if len(text) > MAX_INTEGER_BYTES:
        raise ValueError("an integer that takes too long to convert")
    return int(text.rstrip(b"L"))


def _line_string(text: bytes) -> str:
    text = text.strip()
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in b"'\"":
        raise ValueError("a string without quotes")
    decoded: Any = codecs.escape_decode(text[1:-1])[0]  # bytes, where typeshed says str
    return str(decoded, "latin-1")


_U8, _U16, _I32, _U32, _U64 = (struct.Struct(form) for form in ("<B", "<H", "<i", "<I", "<Q"))
_F64 = struct.Struct(">d")

Action = Callable[[PickleMachine], object]


def _with_number(form: struct.Struct, use: Callable[[PickleMachine, Any], object]) -> Action:
    """The action of an opcode that a number follows."""
    return lambda machine: use(machine, machine.number(form))


def _table() -> dict[int, Action]:
    machine = PickleMachine
    table: dict[bytes, Action] = {
        # the stream
        b"\x80": machine.begin,
        b"\x95": machine.frame,
        b"(": machine.mark,
        b"0": machine.drop,
        b"1": machine.pop_to_mark,
        b"2": lambda m: m.push(m.top()),
        # values
        b"N": lambda m: m.push(None),
        b"\x88": lambda m: m.push(True),
        b"\x89": lambda m: m.push(False),
        b"I": lambda m: m.push(m.line_value(_line_integer)),
        b"L": lambda m: m.push(m.line_value(_line_integer)),
        b"F": lambda m: m.push(m.line_value(float)),
        b"S": lambda m: m.push(m.line_value(_line_string)),
        b"V": lambda m: m.push(m.line_value(lambda text: text.decode("raw-unicode-escape"))),
        # containers; a set is kept as a list, so that nothing needs to be hashed
        b")": lambda m: m.push(()),
        b"]": lambda m: m.push([]),
        b"}": lambda m: m.push({}),
        b"\x8f": lambda m: m.push([]),
        b"t": lambda m: m.push(tuple(m.pop_to_mark())),
        b"l": lambda m: m.push(m.pop_to_mark()),
        b"\x91": lambda m: m.push(m.pop_to_mark()),
        b"d": machine.make_dict,
        b"\x85": lambda m: m.pop_tuple(1),
        b"\x86": lambda m: m.pop_tuple(2),
        b"\x87": lambda m: m.pop_tuple(3),
        b"a": lambda m: m.extend([m.pop()]),
        b"e": lambda m: m.extend(m.pop_to_mark()),
        b"\x90": lambda m: m.extend(m.pop_to_mark()),
        b"s": lambda m: m.set_items([m.pop(), m.pop()][::-1]),
        b"u": lambda m: m.set_items(m.pop_to_mark()),
        # the memo
        b"g": lambda m: m.get(m.line_value(_line_integer)),
        b"h": lambda m: m.get(m.number(_U8)),
        b"j": lambda m: m.get(m.number(_U32)),
        b"p": lambda m: m.put(m.line_value(_line_integer)),
        b"q": lambda m: m.put(m.number(_U8)),
        b"r": lambda m: m.put(m.number(_U32)),
        b"\x94": lambda m: m.put(len(m.memo)),
        # objects; an extension code names a global in a registry of the writer's, which we do not have
        b"c": machine.push_line_global,
        b"\x93": machine.stack_global,
        b"R": machine.reduce,
        b"\x81": machine.reduce,
        b"\x92": machine.new_object_with_keywords,
        b"o": machine.call_marked,
        b"i": machine.call_named,
        b"b": machine.build,
        b"P": lambda m: m.push(m.load_persistent(m.line().decode("utf-8", "replace"))),
        b"Q": lambda m: m.push(m.load_persistent(m.pop())),
    }
    for code, form in {b"K": _U8, b"M": _U16, b"J": _I32, b"G": _F64}.items():
        table[code] = _with_number(form, machine.push)
    for code, form in {b"\x82": _U8, b"\x83": _U16, b"\x84": _I32}.items():
        table[code] = _with_number(form, lambda m, number: m.push(Unknown(f"extension {number}")))
    for code, form in {b"\x8c": _U8, b"X": _U32, b"\x8d": _U64}.items():
        table[code] = _with_number(form, lambda m, size: m.push_text(m.take(size), "utf-8"))
    for code, form in {b"U": _U8, b"T": _I32}.items():  # what Python 2 called str: text, or the bytes of an array
        table[code] = _with_number(form, lambda m, size: m.push_text(m.take(size), "latin-1"))
    for code, form in {b"C": _U8, b"B": _U32, b"\x8e": _U64, b"\x96": _U64}.items():
        table[code] = _with_number(form, lambda m, size: m.push_bytes(m.take(size)))
    for code, form in {b"\x8a": _U8, b"\x8b": _I32}.items():
        table[code] = _with_number(form, lambda m, size: m.push_integer(m.take(size)))
    return {code[0]: action for code, action in table.items()}


ACTIONS = _table()

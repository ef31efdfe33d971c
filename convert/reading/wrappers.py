"""Finds the model's tensors in what a checkpoint holds beside them: optimiser states, hyper-parameters, averages.

The rule, at each level of dictionaries from the outside in:

1. the first of `WRAPPERS` that has tensors in it, then the first of `AVERAGES`: the exponential moving average of a
   model is taken only where the model itself is not there;
2. else the dictionary's own tensors, if it has any: then it is a state dict;
3. else its only inner dictionary with tensors, whatever its name, unless the name tells of an optimiser and the like.

Where a person names a set of weights, the outermost dictionary of that name goes before all of this; "ema" stands for
any of `AVERAGES`.

A whole pickled `torch.nn.Module` and a TorchScript module become the names that their `state_dict()` has.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from convert.reading.entry import CheckpointError, Contents, Entry, shown
from convert.reading.pickle_machine import LongText, Opaque
from convert.reading.source import Source
from convert.reading.tensor import NUMPY_CODES, UnreadableTensor
from convert.reading.torch_objects import as_tensor

WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "module", "net", "network", "params", "weights")
AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema", "shadow")
BESIDE_THE_MODEL = ("optim", "hyper", "callbacks", "lr_sched", "sched", "scaler", "amp", "loops", "message_hub", "meta")
MAX_CLASSES = 65536
MAX_CONFIG = 1 << 20  # bytes
MAX_DEPTH = 64  # of modules inside modules
MAX_NAME = 4096  # characters
MAX_VISITS = 500_000  # of values in modules, which may be shared and so be met more often than they are stored


def model_tensors(loaded: object, container: str, source: Source, weights: str = "") -> Contents:
    """The model's tensors in what a pickle made, and the classes that training frameworks record beside them.

    Raises:
        CheckpointError: there are none, or several models to choose from.
    """
    search = _Search(source, weights)
    found = search.find(loaded, 0)
    if not found:
        raise source.error("", f"has no tensors of a model: it holds {_described(loaded)}.")
    taken = search.taken or next(iter(search.sets), "")
    others = tuple(name for name in search.sets if name != taken)
    return Contents(found, container, _recorded_classes(loaded), taken, others)


class _Search:
    """sets: the names of the sets of weights at the outermost level that has several. taken: the one asked for."""

    def __init__(self, source: Source, weights: str) -> None:
        self._source = source
        self._names = AVERAGES if weights == "ema" else (weights,) if weights else ()
        self._weights = weights
        self.sets: tuple[str, ...] = ()
        self.taken = ""
        self._met: dict[int, dict[str, Entry]] = {}  # so that each dictionary is searched once, shared or cyclic
        self._visits = 0

    def find(self, value: object, depth: int) -> dict[str, Entry]:
        """The tensors in a dictionary or module; none where there are none."""
        if id(value) in self._met or depth > MAX_DEPTH:
            return self._met.get(id(value), {})
        self._met[id(value)] = {}
        self._met[id(value)] = found = self._find(value, depth)
        return found

    def _find(self, value: object, depth: int) -> dict[str, Entry]:
        if isinstance(value, Opaque) and isinstance(value.state, dict):
            found: dict[str, Entry] = {}
            self._flatten(value, "", 0, found)
            if found:
                return found
        values = value.items if isinstance(value, Opaque) else value
        if not isinstance(values, dict):
            return {}
        for name in self._names:
            if found := self.find(values.get(name), depth + 1):
                self.taken = self._weights
                self.sets = tuple(other for other in self._sets(values, depth) if other != name)
                return found
        if sets := self._sets(values, depth):
            if len(sets) > 1 or not self.sets:
                self.sets = tuple(sets)
            return next(iter(sets.values()))
        own: dict[str, Entry] = {}
        self._add(values, "", (), own)
        return own or self._find_unnamed(values, depth)

    def _sets(self, values: dict, depth: int) -> dict[str, dict[str, Entry]]:
        """The sets of weights in a dictionary, first the one that is taken; others only where they are plain."""
        sets: dict[str, dict[str, Entry]] = {}
        for name in (*WRAPPERS, *AVERAGES):
            try:
                found = self.find(values.get(name), depth + 1)
            except CheckpointError:
                if not sets:
                    raise
                continue
            if found:
                sets[name] = found
        return sets

    def _find_unnamed(self, values: dict, depth: int) -> dict[str, Entry]:
        found = {
            name: tensors
            for name, item in values.items()
            if isinstance(name, str)
            and not name.lower().startswith(BESIDE_THE_MODEL)
            and (tensors := self.find(item, depth + 1))
        }
        if len(found) > 1:
            names = ", ".join(shown(name) for name in list(found)[:8])
            raise self._source.error("", f"holds several models, {names}: choose one of them by --weights.")
        return next(iter(found.values()), {})

    def _flatten(self, module: Opaque, prefix: str, depth: int, found: dict[str, Entry]) -> None:
        """The names of a module's `state_dict()`: parameters and buffers first, then the modules inside it."""
        state = module.state
        if not isinstance(state, dict) or depth > MAX_DEPTH:
            return
        if module.name.startswith("__torch__."):
            tensors = modules = state
            skipped: object = None
        else:
            tensors = {**_dictionary(state, "_parameters"), **_dictionary(state, "_buffers")}
            modules = _dictionary(state, "_modules")
            skipped = state.get("_non_persistent_buffers_set")
        self._visits += len(tensors) + len(modules) + 1
        if self._visits > MAX_VISITS:
            raise self._source.error("", f"holds modules with more than {MAX_VISITS} values in them: refused.")
        skipped = [name for name in skipped if isinstance(name, str)] if isinstance(skipped, list) else ()
        self._add(tensors, prefix, frozenset(skipped), found)
        for name, value in modules.items():
            if isinstance(name, str) and isinstance(value, Opaque):
                self._flatten(value, f"{prefix}{name}.", depth + 1, found)

    def _add(self, values: dict, prefix: str, skipped: Collection[str], found: dict[str, Entry]) -> None:
        """Collect the tensors among some values; those that can't be read get their name into the error to come."""
        for name, value in values.items():
            tensor = as_tensor(value)
            if tensor is None or not isinstance(name, str) or name in skipped:
                continue
            full = f"{prefix}{name}"
            if full in found:
                raise self._source.error("", f"holds two tensors of the name {shown(full)}.")
            if len(full) > MAX_NAME:
                raise self._source.error("", f"holds a name of {len(full)} characters, {shown(full)}: refused.")
            if tensor.dtype not in NUMPY_CODES:
                tensor = UnreadableTensor(self._source, f"tensor {shown(full)}", tensor.dtype, tensor.shape)
            found[full] = tensor


def _recorded_classes(loaded: object) -> dict[str, str]:
    """What mmcv's and mmengine's checkpoints say: "CLASSES" and "PALETTE" in JSON, and as "CONFIG" the text of the
    configuration that they were trained with."""
    meta = _plain(_plain(loaded).get("meta"))
    spoken = {**meta, **_plain(meta.get("dataset_meta"))}
    recorded = {}
    for key in ("CLASSES", "PALETTE"):
        value = spoken.get(key.lower()) or spoken.get(key)
        if isinstance(value, (list, tuple)) and len(value) <= MAX_CLASSES:
            try:
                recorded[key] = json.dumps([list(row) if isinstance(row, tuple) else row for row in value])
            except (TypeError, ValueError, RecursionError):  # of something else than texts and numbers
                continue
    text = meta.get("config") or meta.get("cfg")
    if isinstance(text, LongText) and len(text.view) <= MAX_CONFIG:
        text = str(text.view, text.encoding, "replace")
    if isinstance(text, str):
        recorded["CONFIG"] = text
    return recorded


def _plain(value: object) -> dict:
    values = value.items if isinstance(value, Opaque) else value
    return values if isinstance(values, dict) else {}


def _dictionary(state: dict, name: str) -> dict:
    value = state.get(name)
    return value if isinstance(value, dict) else {}


def _described(loaded: object) -> str:
    """What was found in place of a model, for a sentence."""
    if as_tensor(loaded) is not None:
        return "a single tensor without a name"
    values = loaded.items if isinstance(loaded, Opaque) else loaded
    if isinstance(values, dict):
        names = [shown(name) for name in values if isinstance(name, str)][:8]
        return f"the names {', '.join(names)}" if names else "a dictionary without names"
    kind = type(loaded).__name__
    return f"an object of the class {shown(loaded.name)}" if isinstance(loaded, Opaque) else f"a value of type {kind}"

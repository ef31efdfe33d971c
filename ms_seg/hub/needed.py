"""Which files of a hub's model are needed: those that hold the weights, and those that say what they mean."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from convert.reading.folder import ENDINGS, INDEX, WEIGHTS
from ms_seg.hub.transfer import HubError

# What stands beside weights: transformers', segmentation_models.pytorch's, ModelScope's, and for its LSeg CLIP's
# vocabulary.
BESIDE = (
    "config.json", "preprocessor_config.json", "processor_config.json", "albumentations_config_eval.json",
    "configuration.json", "config.py", "mmcv_config.py", "bpe_simple_vocab_16e6.txt.gz",
)  # fmt: skip
MAX_BESIDE = 16 << 20  # bytes

_OF_TRAINING = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state).*")
_PLAIN = re.compile(r"[A-Za-z0-9][\w.-]*")


def weights_of(names: Collection[str], where: str, file: str = "") -> str:
    """The file of a listing that holds the weights, or the index of those that do; `file` if it is not empty.

    Raises HubError where there is none, or where several could be meant.
    """
    if file:
        if file not in names:
            raise HubError(f"{where} has no file {file}: it has {_listed(names)}", 404)
        return file
    for name in WEIGHTS:
        if name in names:
            return name
    found = [n for n in names if _PLAIN.fullmatch(n) and n.endswith(ENDINGS) and not _OF_TRAINING.fullmatch(n)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise HubError(f"{where} has no weights of PyTorch's: it has {_listed(names)}")
    raise HubError(f"{where} has several files of weights, {_listed(found)}: add /FILE to its name for the one")


def is_index(name: str) -> bool:
    """Whether the file names the parts that weights are in."""
    return name.endswith(INDEX)


def parts_of(index: Path, names: Collection[str], where: str) -> list[str]:
    """The files that an index names. Raises HubError for what is no index, and for files that are not listed."""
    try:
        table = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        parts = sorted(set(table.values()))
        plain = all(map(_PLAIN.fullmatch, parts))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise HubError(f"{index.name} of {where} is no index of parts") from None
    if not parts or not plain:
        raise HubError(f"{index.name} of {where} names files that are no parts: {_listed(map(str, parts))}")
    if missing := [part for part in parts if part not in names]:
        raise HubError(f"{index.name} names {_listed(missing)}, which {where} does not have")
    return parts


def weights_in(folder: Path, file: str = "") -> Path:
    """The same of a folder of files that were fetched before. Raises HubError where one is missing."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    path = folder / weights_of(names, str(folder), file)
    if is_index(path.name):
        parts_of(path, names, str(folder))
    return path


def _listed(names: Iterable[str]) -> str:
    shown = sorted(name[:60] for name in names)
    return ", ".join(shown[:8]) + (" and others" if len(shown) > 8 else "") if shown else "nothing"

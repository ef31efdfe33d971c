"""What a run was begun with, in RUN/options.json; a run that is resumed is compared with it.

It holds the model, the options of the command, the recipe, and of the pictures and label files their number, their size
and a digest of their names and sizes: wherever they lie now, they must be the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from convert.atomic import whole_file
from ms_seg.distributed import World
from ms_seg.presets.former_names import FORMER_FIELDS, FORMER_RECIPE
from ms_seg.presets.recipe import Recipe

OPTIONS = "options.json"
LABEL_VALUES = "label_values"
# Where files are, for they may move, and what of them may be out of the ordinary.
_PLACE = "data"
NOT_COMPARED = (_PLACE, "checkpoint", "vocab", "allow", "skip_damaged")
_FILES = "files"
_SPLITS = ("training", "validation")


def read_record(run: Path) -> dict[str, Any] | None:
    """What a run was begun with, by today's names; None for a folder that holds no run.

    What did not exist when the run was begun has its default. Raises ValueError for a damaged file.
    """
    path = run / OPTIONS
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        recipe = {**_defaults(), **_renamed(record["recipe"], FORMER_RECIPE)}
        overrides = _renamed(record.get("overrides", {}), FORMER_FIELDS)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path} is damaged: it must hold what the run was begun with") from None
    return {**record, "overrides": overrides, "recipe": recipe}


def refuse_others(run: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ValueError where what a run would go on with differs from what it was begun with."""
    begun, asked = _flat(before), _flat(json.loads(json.dumps(now)))
    asked = {key: value for key, value in asked.items() if key not in (*NOT_COMPARED, _FILES)}
    other = [
        f"{key} {_shown(begun[key])}, not {_shown(value)}"
        for key, value in asked.items()
        if begun.get(key, value) != value
    ]
    if other:
        raise ValueError(f"{run} was begun with {'; '.join(other)}")


def refuse_other_files(run: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ValueError for other pictures and label files than a run was begun with; see `files_of`."""
    for split, begun in before.items():
        for former, found in zip(begun, now[split], strict=False):
            if former != found:
                raise ValueError(
                    f"the files of the {split} pictures are not those that {run} was begun with, "
                    f"by their names and sizes: {_told(former)} then, {_told(found)} now"
                )


def files_of(training: Sequence[Any], validation: Any) -> dict[str, list[dict[str, Any]]]:
    """What tells the files of datasets from others, wherever they lie: how many pictures, bytes, names and sizes.

    What is drawn has names alone. Raises OSError for a file that cannot be seen.
    """
    return dict(zip(_SPLITS, (list(map(_files, training)), [_files(validation)]), strict=True))


def record_of(run: Path, record: Mapping[str, Any], world: World, resume: bool) -> None:
    """Record what a run is begun with, or compare it with that, and then record where its pictures are now.

    Raises ValueError for a folder that holds a run and is not to be resumed, or holds another one.
    """
    before = read_record(run)
    world.barrier()  # nobody writes before all have looked
    if before is not None:
        if not resume:
            raise holds_a_run(run)
        refuse_others(run, before, record)
        refuse_other_files(run, before.get(_FILES, {}), record[_FILES])
        record = {**json.loads((run / OPTIONS).read_text(encoding="utf-8")), _PLACE: record.get(_PLACE)}
    if world.rank == 0 and (before is None or record[_PLACE] not in (None, before.get(_PLACE))):
        run.mkdir(parents=True, exist_ok=True)
        with whole_file(run / OPTIONS) as draft:
            draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    world.barrier()


def holds_a_run(run: Path) -> ValueError:
    """The error of a folder that is to be begun in, and cannot."""
    return ValueError(f"{run} holds a run: go on with --resume, or choose another folder")


def _files(dataset: Any) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    paths = getattr(dataset, "paths", lambda index: ())
    for index in range(len(dataset)):
        files = [(path.name, path.stat().st_size) for path in paths(index)]
        digest.update(repr((dataset.name(index), files)).encode("utf-8", "surrogateescape"))
        size += sum(nbytes for _, nbytes in files)
    return {"pictures": len(dataset), "bytes": size, "sha256": digest.hexdigest()}


def _told(files: Mapping[str, Any]) -> str:
    return f"{files['pictures']} pictures of {files['bytes']:,} bytes"


def _shown(value: Any) -> Any:
    """A recorded value in a sentence; of a numbering the rule in words."""
    return value.get("meaning", value) if isinstance(value, dict) else value


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    return {**record.get("recipe", {}), **{key: value for key, value in record.items() if key != "recipe"}}


def _defaults() -> dict[str, Any]:
    return json.loads(json.dumps(asdict(Recipe())))  # as they are recorded


def _renamed(values: Mapping[str, Any], former: Mapping[str, str]) -> dict[str, Any]:
    return {former.get(key, key): value for key, value in values.items()}

"""A folder with a model in it: which of its files hold the weights, and what its index says of weights in parts.

Nothing is taken from outside of the folder, but what Hugging Face's cache links to from its snapshots: its own `blobs`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.reading.entry import CheckpointError, shown

# transformers' names in the order of its preference, then ModelScope's
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "pytorch_model.pt",
)
INDEX = ".index.json"
# What a training of ours leaves: RUN/checkpoints/00000300/, in which the first of these is the model, and its progress.
OWN = ("average.ckpt", "model.ckpt")
PROGRESS = "progress.json"
ENDINGS = (".bin", ".ckpt", ".npz", ".pkl", ".pt", ".pth", ".safetensors", ".tar", ".zip")
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
MAX_JSON = 64 << 20  # bytes; an index of 100000 tensors takes about 10 million
MAX_PARTS = 1000
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.\w+$")


@dataclass(frozen=True)
class Weights:
    """files: the parts, one of them for most models. part_of: which file each tensor is in, where an index says it.
    passed_over: further files of a folder that hold a model under a known name.
    """

    files: tuple[Path, ...]
    part_of: dict[str, Path]
    passed_over: tuple[str, ...] = ()


def find_weights(path: Path) -> Weights:
    """The weights of a folder, or those that an index names.

    Raises CheckpointError for a folder without weights or with several, one whose weights lie elsewhere, and an index
    that cannot be used.
    """
    folder, file = (path, _choose(path)) if path.is_dir() else (path.parent, path)
    passed_over = _passed_over(folder, file) if path.is_dir() else ()
    if not file.name.endswith(INDEX):
        return Weights((_inside(folder, file),), {}, passed_over)
    index = read_json(_inside(folder, file))
    part_of = index.get("weight_map")
    if not isinstance(part_of, dict) or not part_of or not all(isinstance(name, str) for name in part_of.values()):
        raise CheckpointError(f"{file} must say under 'weight_map' which file each tensor is in: it does not.")
    names = list(dict.fromkeys(part_of.values()))
    if len(names) > MAX_PARTS:
        raise CheckpointError(f"{file} names {len(names)} files, more than {MAX_PARTS}: refused.")
    files = {name: _part(folder, file, name) for name in names}
    return Weights(tuple(files.values()), {key: files[name] for key, name in part_of.items()}, passed_over)


def check_whole(path: Path) -> None:
    """Raise CheckpointError for a file that is one part of several, by its name."""
    found = _PART.search(path.name)
    if found and _is_part(path):
        raise CheckpointError(
            f"{path} is part {int(found[1])} of {int(found[2])} of a checkpoint: pass the folder that has all of them, "
            "with their index."
        )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError for anything else."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise CheckpointError(f"{path} must be a file: it is something else.")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_JSON + 1)
        if len(content) > MAX_JSON:
            raise CheckpointError(f"{path} has more than {MAX_JSON >> 20} MB: refused.")
        found = json.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}.") from None
    except CheckpointError:
        raise
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path} is no JSON in UTF-8.") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} must hold a JSON object: it holds something else.")
    return found


def described_file(folder: Path, name: str) -> Path | None:
    """A file of a folder that describes its model, or None where there is none. Raises as `find_weights` does."""
    return _inside(folder, folder / name) if (folder / name).exists() else None


def _is_part(path: Path) -> bool:
    found = _PART.search(path.name)
    return found is not None and int(found[2]) > 1


def _choose(folder: Path) -> Path:
    """The file of a folder that its weights are read from."""
    for name in WEIGHTS:
        if (folder / name).exists() or (folder / name).is_symlink():
            return folder / name
    run = [path for path in (folder / "checkpoints").glob("[0-9]*") if (path / PROGRESS).is_file()]
    if run:
        folder = _best(run)
    if (folder / PROGRESS).is_file():
        for name in OWN:
            if (folder / name).exists():
                return folder / name
    found = sorted(path for path in folder.iterdir() if path.suffix in ENDINGS and path.is_file())
    if any((folder / name).exists() for name in ADAPTERS):
        raise CheckpointError(
            f"{folder} holds a LoRA adapter and not the model that it changes: merge the two "
            "(merge_and_unload in peft) and save the result."
        )
    inside = sorted(path.parent.name for name in WEIGHTS for path in folder.glob(f"*/{name}"))
    if not found and inside:
        names = ", ".join(map(shown, dict.fromkeys(inside)))
        raise CheckpointError(f"{folder} has its weights in folders of it, {names}: pass the one that is meant.")
    if not found:
        looked_for = ", ".join((*WEIGHTS, f"or one file that ends in {', '.join(ENDINGS)}"))
        raise CheckpointError(f"{folder} is a folder without weights: looked for {looked_for}.")
    if len(found) > 1 and all(map(_is_part, found)):
        raise CheckpointError(
            f"{folder} holds {len(found)} parts of a checkpoint and not their index, {WEIGHTS[1]} or {WEIGHTS[3]}."
        )
    if len(found) > 1:
        names = ", ".join(shown(path.name) for path in found[:8])
        raise CheckpointError(f"{folder} holds several checkpoints, {names}: pass the one that is meant.")
    return found[0]


def _passed_over(folder: Path, file: Path) -> tuple[str, ...]:
    """The other files of a folder that could have been chosen by their names."""
    if file.name not in WEIGHTS or file.parent != folder:
        return ()
    return tuple(name for name in WEIGHTS if name != file.name and (folder / name).exists())


def _best(checkpoints: list[Path]) -> Path:
    """Of a run's checkpoints the one that was validated best, or the newest where none was."""
    newest = max(checkpoints)
    step = read_json(newest / PROGRESS).get("best_step")
    best = newest.with_name(f"{step:08}") if type(step) is int else newest
    return best if best in checkpoints else newest


def _part(folder: Path, index: Path, name: str) -> Path:
    if not (folder / name).exists() and Path(name).name == name:
        raise CheckpointError(f"{index} names {shown(name)}, which is not in the folder: the download is not complete.")
    return _inside(folder, folder / name)


def _inside(folder: Path, path: Path) -> Path:
    """The path, if the file it leads to is the folder's. Raises CheckpointError if it leads out of it."""
    homes = [folder.resolve()]
    cached = homes[0].parents
    if len(cached) > 2 and cached[0].name == "snapshots" and cached[1].name.startswith("models--"):
        homes += [cached[1] / "blobs", cached[2] / "blobs"]
    target = path.resolve()
    if not any(target.is_relative_to(home) for home in homes):
        raise CheckpointError(f"{path} leads out of its folder, to {target}: put the file itself there.")
    return path

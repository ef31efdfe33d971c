"""What the scripts share that train a model of the demo in MindSpore: train, embed, and say how it was made."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from convert import open_checkpoint
from convert.atomic import whole_file
from convert.reading.entry import ArrayEntry
from convert.writing import write_checkpoint

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "ms_seg" / "assets"


def train(model: str, datasets: Sequence[str], run: Path, start: Path | None = None) -> dict[str, Any]:
    """An ordinary training into a run folder, which goes on if it was stopped. start: the weights it begins with.

    Returns how it was made: date, versions, steps, and minutes; what was done before a stop is not among them.
    """
    command = [sys.executable, "-m", "ms_seg", "train", "--model", model, "--output", str(run.resolve())]
    command += [part for name in datasets for part in ("--dataset", name)]
    command += ["--checkpoint", str(start.resolve())] if start else []
    command += ["--resume"] if (run / "options.json").is_file() else []
    started = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True)
    return {
        "made_by": f"scripts/{Path(sys.argv[0]).name}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "mindspore": ms.__version__,
        "machine": platform.machine(),
        "datasets": datasets,
        "steps": int(_newest(run).name),
        "minutes": round((time.monotonic() - started) / 60, 1),
    }


def embed(run: Path, target: Path) -> None:
    """The newest checkpoint of a run in half the bytes."""
    with open_checkpoint(_newest(run) / "model.ckpt") as tensors:
        halves = {name: ArrayEntry(entry.numpy().astype(np.float16)) for name, entry in tensors.items()}
        write_checkpoint(target, halves, metadata=tensors.metadata)


def extract_backbone(run: Path, target: Path) -> None:
    """The backbone alone of the newest checkpoint of a run."""
    with open_checkpoint(_newest(run) / "model.ckpt") as tensors:
        write_checkpoint(target, {name: entry for name, entry in tensors.items() if name.startswith("backbone.")})


def write_record(file: Path, record: dict[str, Any]) -> None:
    with whole_file(file) as draft:
        draft.write_text(json.dumps(record, indent=1) + "\n")


def _newest(run: Path) -> Path:
    return max((run / "checkpoints").glob("[0-9]*"))

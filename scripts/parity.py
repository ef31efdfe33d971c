"""Prove at full size that our models are the references', stage by stage: python scripts/parity.py [--models PATTERN]

Weights are drawn so that every branch matters, saved as a PyTorch file, converted, and run beside PyTorch on the CPU.
Prints, for each model and input size, the relative error of every stage against PyTorch in float32 and, with
--float64, our error against PyTorch in float64 as a multiple of PyTorch's own. Exits with 1 if any stage diverges,
naming the first.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "parity")]
os.environ.setdefault("GLOG_v", "3")

from comparison import Comparison, Stored, compare_outputs, run_ours, run_theirs  # noqa: E402
from references import MMDET  # noqa: E402

from ms_seg.presets import find_preset, list_models  # noqa: E402

SIZES = {"segformer": ((512, 512), (512, 683)), "lseg": ((480, 480), (640, 640)), "mask2former": ((800, 1088),)}


def main() -> int:
    options = _parser().parse_args()
    names = [name for pattern in options.models for name in list_models(pattern) if not name.endswith("_shapes")]
    if not names:
        print(f"parity: no model matches {' '.join(options.models)}", file=sys.stderr)
        return 2
    diverged, rows = [], []
    # MindSpore keeps the memory of every graph it compiled, and PyTorch's in float64 takes as much again as ours: each
    # has a process of its own.
    alone = {"max_workers": 1, "max_tasks_per_child": 1, "mp_context": multiprocessing.get_context("spawn")}
    with ProcessPoolExecutor(**alone) as pool:
        for name, (height, width) in _pairs(names, options.sizes):
            start = time.perf_counter()
            result = _compare(pool, name, (options.batch, 3, height, width), options.seed, options.float64)
            rows.append(_row(result, time.perf_counter() - start))
            _print(result, rows[-1], options.stages)
            if result.first_diverging:
                diverged.append(f"{name} at {height}x{width}: first diverges at {result.first_diverging}")
    if options.json:
        options.json.write_text(json.dumps({**_environment(), "results": rows}, indent=1) + "\n")
    print("\n".join(diverged) or f"{len(rows)} comparisons, none diverges")
    return 1 if diverged else 0


def _compare(pool: Executor, name: str, shape: tuple[int, ...], seed: int, float64: bool) -> Comparison:
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs, exact = (Path(scratch, side) for side in ("ours", "theirs", "exact"))
        pool.submit(run_ours, name, shape, seed, ours).result()
        pool.submit(run_theirs, name, shape, seed, theirs).result()
        if float64:
            pool.submit(run_theirs, name, shape, seed, exact, float64=True).result()
        outputs = Stored(ours), Stored(theirs), Stored(exact) if float64 else None
        return compare_outputs(find_preset(name), shape, *outputs)


def _pairs(names: list[str], sizes: list[tuple[int, int]] | None) -> list[tuple[str, tuple[int, int]]]:
    """Each model with each size, or with that of its window if it takes no other, or with those of its system."""
    pairs = []
    for preset in map(find_preset, names):
        exact = preset.window is not None and preset.window.exact
        own = ((preset.window.crop, preset.window.crop),) if exact else SIZES[preset.system]
        pairs += [(preset.name, size) for size in sizes or own]
    return pairs


def _row(result: Comparison, seconds: float) -> dict:
    logits, worst = result.stages[-1], max(result.stages, key=lambda stage: stage.error)
    row = {
        "model": result.preset.name,
        "input": "x".join(map(str, result.shape)),
        "logits": logits.error,
        "worst_stage": worst.name,
        "worst": worst.error,
        "labels_differ": result.labels_differ,
        "seconds": round(seconds, 1),
    }
    if logits.ours_against_float64 is not None:
        row["ours_against_float64"] = logits.ours_against_float64
        row["multiple_of_pytorch"] = logits.ours_against_float64 / logits.theirs_against_float64
    return row


def _print(result: Comparison, row: dict, every_stage: bool) -> None:
    against = f", {row['multiple_of_pytorch']:.2f} times PyTorch's own error" if "multiple_of_pytorch" in row else ""
    print(
        f"{row['model']:32} {row['input']:14} logits {row['logits']:.1e}, worst stage {row['worst']:.1e} "
        f"({row['worst_stage']}), labels differ {row['labels_differ']:.4%}{against}",
        flush=True,
    )
    for stage in result.stages if every_stage or result.first_diverging else ():
        mark = "  <- first to diverge" if stage.name == result.first_diverging else ""
        exact = (stage.ours_against_float64, stage.theirs_against_float64)
        against = ", against float64 {:.1e} and PyTorch's {:.1e}".format(*exact) if None not in exact else ""
        print(f"    {stage.name:32} {stage.error:.1e}{against}{mark}")


def _environment() -> dict:
    packages = ("mindspore", "torch", "transformers", "mmsegmentation", "numpy")
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **{name: importlib.metadata.version(name) for name in packages},
        **dict([MMDET]),
    }


def _size(text: str) -> tuple[int, int]:
    height, width = text.lower().split("x")
    return int(height), int(width)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["segformer_*"], metavar="PATTERN")
    parser.add_argument("--sizes", nargs="+", type=_size, metavar="HxW", help="default: its system's")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the drawn weights and input")
    parser.add_argument("--float64", action="store_true", help="measure against PyTorch in float64 too")
    parser.add_argument("--stages", action="store_true", help="print every stage, not only the worst")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())

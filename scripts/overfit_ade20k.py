"""Learn a few pictures by heart through the ordinary train command: python scripts/overfit_ade20k.py PICTURES

PICTURES is a folder of ADE20K's layout (images/validation, annotations/validation); its pictures are trained on and
validated on. A pipeline from files to labels that has a wrong line anywhere does not reach the bar. When the learning
rate has fallen to zero it begins anew, from the weights that there are: classes of two hundred pixels, such as a
streetlight, are learned last. Exits with 1 below the bar. What was stopped goes on.

SegFormer-B0 from nothing, three pictures with fifteen classes: mIoU 0.897 after 1000 steps, 0.918 after 400 more.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BAR = 0.9  # mIoU


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, metavar="PICTURES")
    parser.add_argument("--output", type=Path, default=Path("overfit"), metavar="RUN")
    parser.add_argument("--steps", type=int, nargs=2, default=(1000, 400), help="before the rate begins anew, and then")
    options = parser.parse_args()

    data, best, start = options.output / "data", 0.0, []
    for kind in ("images", "annotations"):
        for split in ("training", "validation"):
            shutil.copytree(options.pictures / kind / "validation", data / kind / split, dirs_exist_ok=True)
    for name, steps in zip(("first", "again"), options.steps, strict=True):
        run = options.output / name
        if train(data, run, ["--steps", str(steps), *start]):
            return 2
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        best = max(best, *(line["mIoU"] for line in lines if "mIoU" in line))
        start = ["--checkpoint", str(max((run / "checkpoints").glob("[0-9]*")).resolve() / "model.ckpt")]
    print(f"best mIoU {best:.3f}, the bar is {BAR}")
    return 0 if best >= BAR else 1


def train(data: Path, run: Path, more: list[str]) -> int:
    """Train, or go on; returns the command's exit code."""
    numbers = {
        "batch-size": 3, "crop-size": 512, "short-side": 512, "long-side": 2048, "scale-min": 1.0, "scale-max": 1.0,
        "cat-max-ratio": 1.0, "flip": 0.0, "photometric": "false", "learning-rate": 1e-3, "head-multiplier": 1.0,
        "warmup-steps": 20, "weight-decay": 0.0, "validate-every": 50, "keep-every": 100,
    }  # fmt: skip
    command = [sys.executable, "-m", "ms_seg", "train", "--model", "segformer_b0_ade20k_mmseg", "--dataset", "ade20k"]
    command += ["--override", "drop_path_rate=0", "--override", "dropout_rate=0"]
    command += ["--data", str(data.resolve()), "--output", str(run.resolve()), "--workers", "0", *more]
    command += [part for key, value in numbers.items() for part in (f"--{key}", str(value))]
    command += ["--resume"] if (run / "options.json").is_file() else []
    return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())

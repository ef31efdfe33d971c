"""What bfloat16 changes in a network's answers: python scripts/precision_effect.py NAME NxCxHxW"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "tests" / "parity")]


def measure_effect(name: str, shape: tuple[int, ...]) -> dict[str, float]:
    """error: of the first output of a randomly initialised network, relative, in the Frobenius norm. pixels: the share
    of its places whose highest class is another. In a process of its own."""
    from processes import run_python

    return json.loads(run_python([__file__, name, "x".join(map(str, shape))]).output.splitlines()[-1])


def _effect(name: str, shape: tuple[int, ...]) -> dict[str, float]:
    import drawn
    import numpy as np

    import ms_seg
    from ms_seg.inference.execution import Runner, to_numpy

    model = ms_seg.create_model(name)
    inputs = drawn.inputs(model.preset, shape, seed=0)
    exact, rounded = (
        to_numpy(Runner(model, precision=precision)(*inputs)[-1]) for precision in ("float32", "bfloat16")
    )
    return {
        "error": round(float(np.linalg.norm(exact - rounded) / np.linalg.norm(exact)), 5),
        "pixels": round(float(np.mean(exact.argmax(1) != rounded.argmax(1))), 5),
    }


if __name__ == "__main__":
    print(json.dumps(_effect(sys.argv[1], tuple(map(int, sys.argv[2].split("x"))))))

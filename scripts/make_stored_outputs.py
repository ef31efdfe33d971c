"""Store what the PyTorch references give for small networks, so that parity is also proved where PyTorch is not.

Writes tests/parity/stored/NAME.npz: the tensors' names and shapes, the seed from which `drawn` draws weights and input
again, and the logits.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "tests" / "parity" / "stored"
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "parity")]

import drawn  # noqa: E402
import references  # noqa: E402

from convert.atomic import whole_file  # noqa: E402
from ms_seg.presets import find_preset  # noqa: E402

SMALL = {"embed_dims": (8, 16, 40, 64), "depths": (1, 1, 2, 1), "head_width": 16, "num_classes": 7}
NAMES = ("segformer_b0_ade20k", "segformer_b0_cocostuff164k")
SHAPE, SEED = (2, 3, 65, 90), 7


def main() -> None:
    STORED.mkdir(exist_ok=True)
    for name in NAMES:
        model = references.build_reference(find_preset(name).override(**SMALL), SEED)
        recipe = {
            "name": name,
            "overrides": SMALL,
            "tensors": {key: list(tensor.shape) for key, tensor in model.state_dict().items()},
            "seed": SEED,
            "shape": SHAPE,
        }
        logits = references.forward(model, drawn.images(SHAPE, SEED))
        with whole_file(STORED / f"{name}.npz") as draft, draft.open("wb") as file:
            np.savez_compressed(file, recipe=json.dumps(recipe), logits=logits)
        print(f"{name}: logits {logits.shape}")


if __name__ == "__main__":
    main()

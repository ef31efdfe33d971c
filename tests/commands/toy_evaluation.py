"""python tests/commands/toy_evaluation.py SECONDS evaluate ...: the command with the toy model, in its own process.

The model takes SECONDS over each picture; the file that ASKED names gets a line for each.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import ms_seg  # noqa: E402
from ms_seg.__main__ import main  # noqa: E402


def toy_model(name=None, checkpoint=None, **_choice):
    from toy_model import PRESET, StrongestChannel

    return StrongestChannel(replace(PRESET, arguments={**PRESET.arguments, "num_classes": 3}))


def toy_segmenter(seconds: float):
    from ms_seg.inference import Segmenter

    class Slow(Segmenter):
        def _look(self, inputs, words, progress):
            time.sleep(seconds * len(inputs))
            with open(os.environ.get("ASKED", os.devnull), "a") as asked:
                asked.write("a picture\n" * len(inputs))
            return super()._look(inputs, words, progress)

    return Slow


if __name__ == "__main__":
    ms_seg.create_model = toy_model
    os.environ.setdefault("GLOG_v", "3")
    ms_seg.Segmenter = toy_segmenter(float(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))

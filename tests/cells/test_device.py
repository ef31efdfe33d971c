"""The runtime's configuration for training on a CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os
from ms_seg.cells.device import run_graphs_in_caller
print("before", flush=True)
before = dict(os.environ)
run_graphs_in_caller()
print(os.environ == before)
"""


def test_what_mindspore_says_of_its_configuration_stays_out_of_the_answer_and_the_environment():
    said = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr
    assert said.stdout == "before\nTrue\n"

"""`python -m ms_seg` and the package itself: what a person meets before any command."""

import subprocess
import sys
from pathlib import Path

import pytest

import ms_seg
from ms_seg.__main__ import main

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("arguments", [[], ["segment"], ["paint"]])
def test_a_wrong_call_shows_its_usage(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: python -m ms_seg" in capsys.readouterr().err


def test_the_package_shows_its_doors_and_is_imported_at_once():
    assert {"Segmenter", "create_model", "list_models", "to_pretrained"} <= set(dir(ms_seg))
    code = "import sys, ms_seg, convert; sys.exit(bool({'numpy', 'mindspore'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0

"""Options that there are not."""

from __future__ import annotations

import pytest

from convert.__main__ import main as convert
from ms_seg.__main__ import main


@pytest.mark.parametrize(
    ("command", "nearest"),
    [
        (["train", "--lr", "0.1"], "--lr; the nearest is --learning-rate"),
        (["train", "--lr=0.1"], "--lr; the nearest is --learning-rate"),
        (["train", "--amp"], "--amp; the nearest is --precision"),
        (["train", "--grad_clip", "1"], "--grad_clip; the nearest is --clip-norm"),
        (["train", "--optimiser", "sgd"], "--optimiser; the nearest is --optimizer"),
        (["train", "--undecaid", "x"], "--undecaid"),  # former names are understood, and not proposed
        (["segment", "dog.jpg", "--classes", "dog"], "--classes; the nearest is --labels"),
        (["evaluate", "--ckpt", "x.pth"], "--ckpt; the nearest is --checkpoint"),
        (["models", "--publishd"], "--publishd; the nearest is --published"),
    ],
)
def test_an_unknown_option_is_answered_by_the_nearest_whatever_else_is_missing(command, nearest, capsys):
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"python -m ms_seg {command[0]}: error: there is no option {nearest}"
    )


def test_the_converter_does_so_too(capsys):
    with pytest.raises(SystemExit):
        convert(["a.pth", "b.ckpt", "--modle", "x"])
    assert capsys.readouterr().err.endswith("there is no option --modle; the nearest is --model\n")


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("ms_seg ")

"""The benchmark's rows: who takes part, in turns, and who is left out, with the reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2] / "scripts")]

import benchmark  # noqa: E402
import implementations  # noqa: E402


def test_who_cannot_run_a_network_is_left_out_with_the_reason(capfd: pytest.CaptureFixture[str]):
    named = {"ours": implementations.quick, "other": implementations.slow}
    starts = {**named, "third": implementations.unable, "fourth": implementations.killed}
    row = benchmark.measure("segformer_tiny_shapes", (1, 3, 64, 96), threads=1, runs=3, starts=starts)
    assert row["left_out"] == {"third": "NotImplementedError: no such operator", "fourth": "its process ended"}
    assert set(row["figures"]) == {"ours", "other"}
    assert row["figures"]["ours"]["ratio"] == 1 and 0.02 < row["figures"]["other"]["ratio"] < 0.8
    assert "third" in (printed := capfd.readouterr().out) and "no such operator" in printed


def test_a_network_that_ours_cannot_run_has_no_row():
    with pytest.raises(RuntimeError, match="no such operator"):
        benchmark.measure("segformer_tiny_shapes", (1, 3, 64, 96), 1, 1, {"ours": implementations.unable})


def test_peers_are_not_asked_to_train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--train", "--peers"])
    with pytest.raises(SystemExit) as stopped:
        benchmark.main()
    assert stopped.value.code == 2 and "forward alone" in capsys.readouterr().err

"""docs/performance.md is what its measurements say, and measuring goes on where it stopped."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts")]

import performance_page  # noqa: E402
from performance_plots import write_plots  # noqa: E402
from performance_tables import grown, page  # noqa: E402


def figure(seconds: float, ratio: float, peak: int = 100) -> dict[str, float]:
    return {
        "seconds": seconds,
        "ratio": ratio,
        "cpu_seconds": 2 * seconds,
        "first_call_seconds": 9.5,
        "peak_mb": peak,
    }


def compared(**figures: dict[str, float]) -> dict[str, Any]:
    return {"date": "2026-01-02", "figures": figures, "left_out": {"OpenVINO": "no such operator"}}


PARTS = {"imports": [1.5, 1.4], "cells": [0.1, 0.1], "model": [0.4, 0.3], "first": [5.0, 4], "second": [2.0, 3]}
SIDE = {"seconds": 8.0, "cpu_seconds": 9.0, "peak_mb": 700, "parts": {**PARTS, "saving": [0.25, 0.2]}}


@pytest.fixture
def stored() -> dict[str, Any]:
    point = {"date": "2026-01-02", "seconds": 0.5, "cpu_seconds": 0.6, "peak_mb": 90}
    return {
        "environment": {
            "processor": "A",
            "instructions": "avx2",
            "cores": "2",
            "memory": "8 GB",
            "system": "Linux",
            "torch": "2.13",
        },
        "rows": {
            "forward": {"net_b0_x 1x3x64x96": compared(ours=figure(0.02, 1), PyTorch=figure(0.08, 0.25))},
            "training": {"net_b0_x 2x3x64x64": compared(ours=figure(1.5, 1, 300), PyTorch=figure(3, 0.5, 200))},
            "first_answer": {
                "net_b0_x": {
                    "date": "2026-01-03",
                    "ours": SIDE,
                    "PyTorch": {**SIDE, "seconds": 4.0},
                    "operators": {"operators": [6.5, 6]},
                }
            },
            "scale": {"pixels 4000000": {**point, "seconds": 2.5}, "pixels 250000": point},
        },
    }


def cells(text: str, begin: str) -> list[list[str]]:
    """The rows of the tables that begin with a cell."""
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0] == begin]


def test_tables_hold_what_was_measured_and_a_dash_for_what_was_not(stored: dict[str, Any]):
    forward, shares, memory, training, answer, parts = cells(page(stored), "`net_b0_x`")
    assert forward == ["`net_b0_x`", "64x96", "20 ms", "80 ms", "-", "-", "-"]
    assert shares == ["`net_b0_x`", "64x96", "0.25", "-", "-", "-"]
    assert memory[2:4] == ["100 MB", "100 MB"]
    assert training[1:] == ["2x3x64x64", "1.50 s", "3.00 s", "0.50", "300 MB", "200 MB", "1.50", "9.50 s"]
    assert answer[1:4] == ["8.0 s", "4.0 s", "2.00"]
    assert parts[1:] == ["1.50 s", "100 ms", "400 ms", "3.00 s", "2.00 s", "250 ms"]


def test_the_page_says_what_was_not_measured_who_is_left_out_and_when_and_where(stored: dict[str, Any]):
    text = " ".join(page(stored).split())
    assert "## bfloat16" in text and text.count("Not measured.") == 4
    assert "OpenVINO of `net_b0_x`: no such operator" in text
    assert "Measured on 2026-01-02 to 2026-01-03: A (avx2), 2 cores, 8 GB of memory; Linux; torch 2.13." in text


def test_points_of_a_plot_go_from_small_to_large(stored: dict[str, Any]):
    assert [number for number, _ in grown(stored["rows"]["scale"], "pixels")] == [250_000, 4_000_000]


def test_each_plot_of_the_page_is_drawn_and_the_same_each_time(stored: dict[str, Any], tmp_path: Path):
    paths = write_plots(stored, tmp_path / "one")
    shown = re.findall(r"\(performance/(\w+\.svg)\)", page(stored))
    assert sorted(path.name for path in paths) == sorted(shown)
    again = write_plots(stored, tmp_path / "two")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]


class TestMeasuring:
    @pytest.fixture
    def called(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        called: list[str] = []

        def point(name: str) -> dict[str, Any]:
            called.append(name)
            if name == "pixels 2":
                raise RuntimeError("its process ended")
            return {"seconds": 1.0, "cpu_seconds": 1.0, "peak_mb": 1}

        parts = {"scale": {f"pixels {number}": lambda n=f"pixels {number}": point(n) for number in (1, 2, 3)}}
        monkeypatch.setattr(performance_page, "PARTS", parts)
        return called

    def test_what_could_not_be_measured_is_said_and_measured_the_next_time(
        self, called: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        file, written = tmp_path / "figures.json", tmp_path / "page.md"
        assert performance_page.measure(["scale"], file, written) == 1
        assert "scale pixels 2: its process ended" in capsys.readouterr().err
        assert performance_page.measure(["scale"], file, written) == 1
        assert called == ["pixels 1", "pixels 2", "pixels 3", "pixels 2"]
        assert written.read_text() == page(json.loads(file.read_text()), written.stem)

    @pytest.mark.parametrize("what", ["processor", "instructions"])
    def test_figures_of_another_machine_are_not_added_to(
        self, what: str, called: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        file = tmp_path / "figures.json"
        other = {**performance_page.environment(), what: "another"}
        file.write_text(json.dumps({"environment": other, "rows": {}}))
        assert performance_page.measure(["scale"], file, tmp_path / "page.md") == 2
        assert f"with another {what}: --new begins anew" in capsys.readouterr().err and not called
        assert performance_page.measure(["scale"], file, tmp_path / "page.md", new=True) == 1
        assert json.loads(file.read_text())["environment"][what] != "another"


@pytest.mark.parametrize("measurements", sorted(performance_page.MEASUREMENTS.parent.glob("performance*.json")))
def test_each_page_in_the_repository_is_that_of_its_measurements(measurements: Path):
    stored, written = json.loads(measurements.read_text()), measurements.with_suffix(".md")
    text = page(stored, written.stem)
    assert written.read_text() == text, f"performance_page.py --render --measurements {measurements} --page {written}"
    shown = re.findall(r"\((performance\w*/[\w.]+)\)", text)
    assert shown and all((written.parent / name).is_file() for name in shown)

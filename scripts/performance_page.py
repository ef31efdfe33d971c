"""Measure everything that docs/performance.md shows, and write the page: python scripts/performance_page.py [PART ...]

Measurements go to docs/performance.json as they are made, each by its own processes; a run that was stopped goes on
with what is missing, and parts can be measured one by one. The page and its plots are written from that file alone:
--render does nothing else. A file of another machine, or of other versions, is not added to: --new begins anew.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "tests" / "parity")]

import benchmark  # noqa: E402
import peers  # noqa: E402
from end_to_end import measure_end_to_end  # noqa: E402
from first_answer import measure_first_answer  # noqa: E402
from measure_metrics import measure_metrics  # noqa: E402
from performance_plots import write_plots  # noqa: E402
from performance_tables import page  # noqa: E402
from precision_effect import measure_effect  # noqa: E402
from scale import POINTS, measure_point  # noqa: E402

from convert.atomic import whole_file  # noqa: E402

MEASUREMENTS, PAGE, PLOTS = ROOT / "docs/performance.json", ROOT / "docs/performance.md", ROOT / "docs/performance"

# What one name of processors does not tell: which products they have, and how wide.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")

PACKAGES = ("mindspore", "torch", "transformers", "mmsegmentation", "onnxruntime", "openvino", "numpy")

B0, B5, LSEG = "segformer_b0_ade20k", "segformer_b5_ade20k", "lseg_vitl16_ade20k"
R50, SWIN_L = "mask2former_r50_coco_panoptic", "mask2former_swin_l_coco_panoptic"
ADAPTER = "vit_adapter_beit_l_cocostuff164k"


@dataclass(frozen=True)
class Case:
    """A network and its input: (N, 3, H, W). runs: of each implementation. apart: beside ours one other at a time, for
    models of which five processes do not fit into memory."""

    model: str
    shape: tuple[int, ...]
    runs: int
    apart: bool = False

    @property
    def key(self) -> str:
        return f"{self.model} {'x'.join(map(str, self.shape))}"


FORWARD = (
    Case(B0, (1, 3, 512, 512), 20),
    Case(B5, (1, 3, 512, 512), 10),
    Case(LSEG, (1, 3, 480, 480), 5, apart=True),
    Case(R50, (1, 3, 800, 1088), 5),
    Case(SWIN_L, (1, 3, 800, 1088), 3, apart=True),
)
TRAINING = (
    Case("segformer_b0_ade20k_mmseg", (2, 3, 512, 512), 5),
    Case("segformer_b0_cocostuff164k", (1, 3, 512, 512), 5),
    Case(LSEG, (1, 3, 480, 480), 3),
    Case(R50, (1, 3, 512, 512), 3),
)
BFLOAT16 = (Case(B0, (1, 3, 512, 512), 20), Case(B5, (1, 3, 512, 512), 10), Case(SWIN_L, (1, 3, 800, 1088), 3))
# Batch size, command, and pictures: more of them with `evaluate`, as the time varies that its report takes.
END_TO_END = (
    (B0, 1, "segment", 40),
    (B0, 4, "segment", 40),
    (B5, 1, "segment", 40),
    (B0, 1, "evaluate", 200),
    (B0, 4, "evaluate", 200),
)
ADAPTER_CROP = Case(ADAPTER, (1, 3, 896, 896), 1, apart=True)


def _forward(case: Case) -> dict:
    return _in_turns(case, {**benchmark.FORWARD, **peers.FORWARD})


def _train(case: Case) -> dict:
    return _in_turns(case, benchmark.TRAINING)


def _bfloat16(case: Case) -> dict:
    effect = measure_effect(case.model, case.shape)  # which fails at once on a processor without such products
    starts = {"ours": benchmark.FORWARD["ours"], "ours, bfloat16": benchmark.start_bfloat16}
    row = _in_turns(case, {**starts, "OpenVINO, bfloat16": peers.start_openvino_bfloat16})
    return {**row, "effect": effect}


def _adapter(case: Case) -> dict:
    """One after the other: both do not fit into memory."""
    rows = [
        benchmark.measure(case.model, case.shape, benchmark.THREADS, case.runs, {"ours": start})
        for start in benchmark.FORWARD.values()
    ]
    figures = {who: row["figures"].get("ours") for who, row in zip(benchmark.FORWARD, rows, strict=True)}
    ours = figures["ours"]["seconds"]
    for who in [who for who, figure in figures.items() if figure]:
        figures[who]["ratio"] = round(ours / figures[who]["seconds"], 3)
    left_out = {who: row["left_out"]["ours"] for who, row in zip(figures, rows, strict=True) if row["left_out"]}
    return {**rows[0], "figures": {who: figure for who, figure in figures.items() if figure}, "left_out": left_out}


def _in_turns(case: Case, starts: Mapping[str, benchmark.Start]) -> dict:
    """A row of `benchmark.measure`; of a case of large models, joined of one row for each of the others. Then each
    ratio is to ours of the same row, and the figures of ours are those of the first."""
    groups = [starts]
    if case.apart:
        groups = [{"ours": starts["ours"], who: start} for who, start in starts.items() if who != "ours"]
    rows = [benchmark.measure(case.model, case.shape, benchmark.THREADS, case.runs, group) for group in groups]
    joined = rows[0]
    for row in rows[1:]:
        joined["figures"] = {**row["figures"], **joined["figures"]}
        joined["left_out"] |= row["left_out"]
    joined["figures"] = {who: joined["figures"][who] for who in starts if who in joined["figures"]}
    return joined


Measure = Callable[[], dict]

# The parts of the page, in its order: name -> what each row is called and how it is measured.
PARTS: dict[str, dict[str, Measure]] = {
    "forward": {case.key: lambda case=case: _forward(case) for case in FORWARD},
    "adapter": {ADAPTER_CROP.key: lambda: _adapter(ADAPTER_CROP)},
    "training": {case.key: lambda case=case: _train(case) for case in TRAINING},
    "bfloat16": {case.key: lambda case=case: _bfloat16(case) for case in BFLOAT16},
    "end_to_end": {
        f"{command} {name}, {batch_size} at once": lambda row=(name, batch_size, command, number): measure_end_to_end(
            *row
        )
        for name, batch_size, command, number in END_TO_END
    },
    "first_answer": {name: lambda name=name: measure_first_answer(name) for name in (B0, B5, LSEG, R50, SWIN_L)},
    "scale": {
        f"{what} {number}": lambda what=what, number=number: measure_point(what, number)
        for what, numbers in POINTS.items()
        for number in numbers
    },
    "metrics": {"mIoU": lambda: {"results": measure_metrics()}},
}


def main() -> int:
    parser = _parser()
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))} must be of {', '.join(PARTS)}")
    if not options.render:
        return measure(options.parts or list(PARTS), options.measurements, options.page, options.new)
    render(options.measurements, options.page)
    return 0


def measure(parts: list[str], path: Path, page_path: Path, new: bool = False) -> int:
    """Measure what is missing of these parts, and write the page after each row; 1 if a row could not be measured."""
    stored = {"environment": environment(), "rows": {}}
    if path.is_file() and not new:
        stored = json.loads(path.read_text())
        if stored["environment"] != environment():
            changed = [key for key, value in environment().items() if stored["environment"].get(key) != value]
            print(f"{path} was measured with another {', '.join(changed)}: --new begins anew", file=sys.stderr)
            return 2
    failed = 0
    for part in parts:
        for name, run in PARTS[part].items():
            rows = stored["rows"].setdefault(part, {})
            if name in rows:
                continue
            print(f"{datetime.datetime.now():%H:%M:%S} {part}: {name}", flush=True)
            try:
                rows[name] = {"date": datetime.date.today().isoformat(), **run()}
            except RuntimeError as error:
                failed += 1
                print(f"{part} {name}: {error}", file=sys.stderr)
                continue
            with whole_file(path) as draft:
                draft.write_text(json.dumps(stored, indent=1) + "\n")
    if path.is_file():
        render(path, page_path)
    return 1 if failed else 0


def render(path: Path, page_path: Path) -> None:
    """Write the page, and its plots into a folder of its name, from the measurements."""
    stored = json.loads(path.read_text())
    page_path.write_text(page(stored, page_path.stem))
    write_plots(stored, page_path.with_suffix(""))


def environment() -> dict[str, str]:
    """What measurements depend on beside the program."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "processor": models[0] if models else platform.processor(),
        "instructions": ", ".join(name for name in INSTRUCTIONS if name in flags),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        **versions,
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--render", action="store_true", help="write the page from what was measured, and no more")
    parser.add_argument("--new", action="store_true", help="forget what was measured before")
    parser.add_argument("--measurements", type=Path, default=MEASUREMENTS, metavar="FILE")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())

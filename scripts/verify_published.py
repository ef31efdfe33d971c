"""Download published models, convert them, and compare with the numbers that their publishers' own tests expect.

python scripts/verify_published.py            # all of scripts/published_outputs.json
python scripts/verify_published.py hf:nvidia/segformer-b0-finetuned-ade-512-512

A model without expected numbers is converted and run. Where PyTorch and transformers are installed, a model in
transformers' layout is run by them on the same input, too. Prints a table for an issue, and exits with 1 if a model
cannot be had, cannot be converted, or gives other numbers.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("GLOG_v", "3")

import numpy as np  # noqa: E402

import ms_seg  # noqa: E402
from convert.__main__ import main as convert  # noqa: E402
from convert.exit_code import exit_code  # noqa: E402
from ms_seg.data.picture import read_picture  # noqa: E402
from ms_seg.data.preprocessing import network_input  # noqa: E402
from ms_seg.hub import address_of_model, fetch, find_address  # noqa: E402
from ms_seg.presets import Preset, title_of  # noqa: E402

EXPECTED = ROOT / "scripts" / "published_outputs.json"
# transformers' own tests read this file.
PICTURE = (
    "https://raw.githubusercontent.com/huggingface/transformers/main/tests/fixtures/tests_samples/COCO/000000039769.png"
    "#sha256=cf6f3c4befa148732c7453e0de5afab00f682427435fead2d88b07a9615cdac2"
)
REFERENCES = ("SegformerForSemanticSegmentation", "Mask2FormerForUniversalSegmentation")
REFERENCE_LIMIT = 1e-4  # of the relative error against transformers
_SLICE = re.compile(r"(\w+)\[([-\d:,]+)\]")
_HEADINGS = ("model", "is", "expected numbers", "against transformers", "verdict")


@dataclass
class Row:
    """What is found out about a model, a text for each column. failed: why it is not what was published."""

    model: str
    preset: str = ""
    numbers: str = "not compared"
    reference: str = "-"
    failed: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        return self.model, self.preset, self.numbers, self.reference, self.verdict

    @property
    def verdict(self) -> str:
        compared = self.numbers.startswith("off by") or self.reference != "-"
        return self.failed or ("as published" if compared else "converted, with nothing to compare")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    return exit_code("verify_published", lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Verify one model after the other; 1 if one failed."""
    entries = {entry["model"]: entry for entry in json.loads(options.expected.read_text(encoding="utf-8"))}
    rows = []
    for name in options.models or entries:
        entry = entries.get(name) or entries.get(f"hf:{name}") or {"model": name, "input": "picture", "expected": {}}
        row = Row(entry["model"])
        try:
            verify(row, entry, options.picture)
        except (ValueError, OSError, RuntimeError) as error:
            row.failed = " ".join(str(error).split())
        rows.append(row)
        print(f"{row.model}: {row.verdict}", file=sys.stderr)
    text = _table([row.cells for row in rows])
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    return 1 if any(row.failed for row in rows) else 0


def verify(row: Row, entry: Mapping[str, Any], picture: str) -> None:
    """Fill the row of a model. Raises ValueError where it cannot be had, converted or run."""
    address = address_of_model(entry["model"])
    if address is None:
        raise ValueError(f"{entry['model']} is no name on a hub")
    path = fetch(address)
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch, "model.ckpt")
        _convert(path, target, address.model)
        overrides = {"resize": "squash", "short_side": entry["side"]} if "side" in entry else {}
        model = ms_seg.create_model("auto", target, **overrides)
    row.preset = title_of(model.preset)
    if model.preset.output == "words":
        row.numbers = "converted, and not run: it takes words"
        return
    images = _images(model.preset, entry, picture)
    outputs = _outputs(model, images)
    if not all(np.isfinite(values).all() for values in outputs.values()):
        raise ValueError("an output is not finite")
    row.numbers = "none are published"
    if entry["expected"]:
        tolerance = entry["tolerance"]
        worst = max(_excess(outputs, where, values, tolerance) for where, values in entry["expected"].items())
        row.numbers = f"off by {worst:.2g} times what {entry['source']} allows ({tolerance:g})"
        if worst > 1:
            row.failed = "other numbers than published"
    error = _against_reference(path, images, outputs)
    if error is not None:
        row.reference = f"relative error {error:.1e}"
        if error > REFERENCE_LIMIT:
            row.failed = row.failed or "other numbers than transformers'"


def _convert(source: Path, target: Path, model: str) -> None:
    """As `python -m convert` does. Raises ValueError with its sentence if it fails."""
    said, wrong = io.StringIO(), io.StringIO()
    named = [] if model == "auto" else ["--model", model]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
        code = convert([str(source), str(target), *named])
    if code:
        raise ValueError(wrong.getvalue().strip().rpartition("convert: ")[2])


def _images(preset: Preset, entry: Mapping[str, Any], picture: str) -> np.ndarray:
    """The network's input (1, 3, h, w) float32: the picture as the model has it prepared, or ones."""
    if entry["input"] == "ones":
        return np.ones((1, 3, entry["side"], entry["side"]), np.float32)
    address = find_address(picture)
    pixels = read_picture(fetch(address) if address else picture)
    return network_input(pixels, preset.preprocessing)[0]


def _outputs(model: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """What the network gives, under transformers' names; logits also at the input's size, corners on corners."""
    import mindspore as ms

    from ms_seg.cells.resize import Resize

    given = model(ms.Tensor(images))
    if model.preset.output == "queries":
        return dict(zip(("class_queries_logits", "masks_queries_logits"), (x.asnumpy() for x in given), strict=True))
    upsampled = Resize(align_corners=True)(given, images.shape[2:])
    return {"logits": given.asnumpy(), "upsampled": upsampled.asnumpy()}


def _excess(outputs: Mapping[str, np.ndarray], where: str, values: Any, tolerance: float) -> float:
    """The largest difference from expected values, in parts of what is allowed: absolute and relative tolerance."""
    found = _SLICE.fullmatch(where)
    if not found or found[1] not in outputs:
        raise ValueError(f"the model gives no {where}: it gives {', '.join(outputs)}")
    index = tuple(slice(*_numbers(part)) if ":" in part else int(part) for part in found[2].split(","))
    ours, theirs = outputs[found[1]][index], np.array(values)
    if ours.shape != theirs.shape:
        raise ValueError(f"{where} has the shape {ours.shape}, and {theirs.shape} is expected")
    return float(np.max(np.abs(ours - theirs) / (tolerance * (1 + np.abs(theirs)))))


def _numbers(part: str) -> list[int | None]:
    return [int(number) if number else None for number in part.split(":")]


def _against_reference(path: Path, images: np.ndarray, outputs: Mapping[str, np.ndarray]) -> float | None:
    """The largest relative error against transformers; None where it is not installed, or the model is not its."""
    if not path.is_dir() or not (path / "config.json").is_file():
        return None
    name = json.loads((path / "config.json").read_text(encoding="utf-8")).get("architectures", [""])[0]
    try:
        import torch
        import transformers
    except ImportError:
        return None
    if name not in REFERENCES:
        return None
    reference = getattr(transformers, name).from_pretrained(path).eval()
    with torch.no_grad():
        given = reference(pixel_values=torch.from_numpy(images))
    errors = []
    for key in outputs.keys() & given.keys():
        theirs = given[key].numpy()
        errors.append(float(np.linalg.norm(outputs[key] - theirs) / np.linalg.norm(theirs)))
    return max(errors)


def _table(rows: list[tuple[str, ...]]) -> str:
    lines = [_HEADINGS, ("---",) * len(_HEADINGS), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "models", nargs="*", metavar="NAME", help="names on hubs (default: those with expected numbers)"
    )
    parser.add_argument(
        "--expected", type=Path, default=EXPECTED, metavar="FILE", help="the numbers, as in %(default)s"
    )
    parser.add_argument("--picture", default=PICTURE, metavar="FILE", help="instead of the one the numbers are for")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the table into a file, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())

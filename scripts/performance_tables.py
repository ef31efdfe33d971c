"""docs/performance.md from the measurements of performance_page.py: sentences and tables, no figure of its own."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Rows = Mapping[str, Mapping[str, Any]]

PEERS = ("PyTorch", "torch.compile", "onnxruntime", "OpenVINO")
_MISSING = "-"

_INTRODUCTION = (
    "`python scripts/performance_page.py` measures all of this page and writes it, from "
    "[{name}.json]({name}.json). Everything runs on the CPU, with as many threads as there are cores and in "
    "float32 where nothing else is said. Implementations that are compared live in a process each, get the same input "
    "and take turns. Times are medians, on the clock; times of the processor are of all threads together; memory is a "
    "process's peak as the operating system counts it."
)


def page(stored: Mapping[str, Any], name: str = "performance") -> str:
    """The page called name.md, with name.json and the plots in name/; a part without a measurement says so."""
    rows: Mapping[str, Rows] = stored["rows"]
    parts = [_head(stored["environment"], rows, name)]
    for part, title, text, table in _SECTIONS:
        measured = table(rows[part]) if rows.get(part) else "Not measured."
        parts.append(f"## {title}\n\n{_filled(text)}\n\n{measured}".replace("](performance/", f"]({name}/"))
    return "\n\n".join(parts) + "\n\n" + _LEVERS


def _head(environment: Mapping[str, str], rows: Mapping[str, Rows], name: str) -> str:
    dates = sorted({row["date"] for part in rows.values() for row in part.values()})
    days = " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "no day"
    processor = f"{environment['processor']} ({environment['instructions']})"
    machine = f"{processor}, {environment['cores']} cores, {environment['memory']} of memory"
    others = ("processor", "instructions", "cores", "memory", "system")
    versions = ", ".join(f"{name} {version}" for name, version in environment.items() if name not in others)
    return "\n\n".join(
        [
            "# Speed and memory beside PyTorch and other runtimes",
            _filled(_INTRODUCTION.format(name=name)),
            _filled(f"Measured on {days}: {machine}; {environment['system']}; {versions}."),
        ]
    )


def _filled(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


# --------------------------------------------------------------------------------------------------------------- tables


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _model(key: str) -> tuple[str, str]:
    """A row's key -> the model and its input."""
    name, _, shape = key.partition(" ")
    return f"`{name}`", shape.removeprefix("1x3x")


def _forward(rows: Rows) -> str:
    times, shares, memory = [], [], []
    for key, row in rows.items():
        figures = row["figures"]
        present = [figures.get(who) for who in ("ours", *PEERS)]
        times.append([*_model(key), *(_seconds(figure["seconds"]) if figure else _MISSING for figure in present)])
        shares.append([*_model(key), *(f"{figure['ratio']:.2f}" if figure else _MISSING for figure in present[1:])])
        memory.append([*_model(key), *(f"{figure['peak_mb']} MB" if figure else _MISSING for figure in present)])
    head = ["network", "input"]
    tables = [
        _table([*head, "ours", *PEERS], times),
        "Our time as a share of theirs:",
        _table([*head, *PEERS], shares),
        "![Our time as a share of the others'](performance/forward.svg)",
        "Memory at its peak, the building of the network and its compilation included:",
        _table([*head, "ours", *PEERS], memory),
        *_left_out(rows),
    ]
    return "\n\n".join(tables)


def _left_out(rows: Rows) -> list[str]:
    reasons = [f"{who} of {_model(key)[0]}: {why}" for key, row in rows.items() for who, why in row["left_out"].items()]
    return ["Left out: " + "; ".join(reasons) + "."] if reasons else []


def _pair(rows: Rows) -> str:
    """Ours beside PyTorch alone."""
    body = []
    for key, row in rows.items():
        ours, theirs = (row["figures"].get(who) for who in ("ours", "PyTorch"))
        cells = [_cells(figure) for figure in (ours, theirs)]
        ratio = f"{theirs['ratio']:.2f}" if theirs else _MISSING
        memory = f"{ours['peak_mb'] / theirs['peak_mb']:.2f}" if ours and theirs else _MISSING
        first = _seconds(ours["first_call_seconds"]) if ours else _MISSING
        body.append([*_model(key), cells[0][0], cells[1][0], ratio, cells[0][1], cells[1][1], memory, first])
    head = ["network", "input", "ours", "PyTorch", "share", "memory, ours", "PyTorch", "share", "our first call"]
    return "\n\n".join([_table(head, body), *_left_out(rows)])


def _cells(figure: Mapping[str, float] | None) -> tuple[str, str]:
    return (_seconds(figure["seconds"]), f"{figure['peak_mb']} MB") if figure else (_MISSING, _MISSING)


def _bfloat16(rows: Rows) -> str:
    body = []
    for key, row in rows.items():
        figures = row["figures"]
        whole, rounded = figures["ours"], figures.get("ours, bfloat16")
        theirs, effect = figures.get("OpenVINO, bfloat16"), row["effect"]
        body.append(
            [
                *_model(key),
                _seconds(whole["seconds"]),
                _seconds(rounded["seconds"]) if rounded else _MISSING,
                f"{rounded['seconds'] / whole['seconds']:.2f}" if rounded else _MISSING,
                _seconds(theirs["seconds"]) if theirs else _MISSING,
                f"{effect['error']:.2%}",
                f"{effect['pixels']:.2%}",
            ]
        )
    head = ["network", "input", "float32", "bfloat16", "share", "OpenVINO, bfloat16", "output differs", "pixels"]
    return "\n\n".join([_table(head, body), *_left_out(rows)])


def _end_to_end(rows: Rows) -> str:
    body = [
        [
            f"`{row['command']}`",
            f"`{row['model']}`",
            str(row["batch_size"]),
            f"{row['pictures']} of {row['size']}",
            _seconds(row["seconds"]),
            _seconds(row["network_seconds"]),
            f"{row['ratio']:.2f}",
            _seconds(row["cpu_seconds"]),
            _seconds(row["network_cpu_seconds"]),
            f"{row['peak_mb']} MB",
        ]
        for row in rows.values()
    ]
    head = ["command", "network", "`--batch-size`", "pictures", "a picture", "network alone", "ratio"]
    return _table([*head, "processor's time", "of the network", "memory"], body)


_PARTS = (("imports", "imports"), ("cells", "cells without weights"), ("model", "model and weights"))


def _first_answer(rows: Rows) -> str:
    whole, parts = [], []
    for name, row in rows.items():
        ours, theirs = row["ours"], row["PyTorch"]
        cells = [f"{side[key]:.1f} s" for key in ("seconds", "cpu_seconds") for side in (ours, theirs)]
        ratio = f"{ours['seconds'] / theirs['seconds']:.2f}"
        whole.append(
            [f"`{name}`", *cells[:2], ratio, *cells[2:], *(f"{side['peak_mb']} MB" for side in (ours, theirs))]
        )
        seconds = {part: wall for part, (wall, _) in ours["parts"].items()}
        more = max(seconds["first"] - seconds["second"], 0)
        shown = [*(seconds[part] for part, _ in _PARTS), more, seconds["second"], seconds["saving"]]
        parts.append([f"`{name}`", *(_seconds(value) for value in shown)])
    operators = max(row["operators"]["operators"][0] for row in rows.values())
    head = ["network", "ours", "PyTorch", "share", "processor, ours", "PyTorch", "memory, ours", "PyTorch"]
    made_of = ["network", *(title for _, title in _PARTS), "preparing or compiling", "one look", "saving"]
    return "\n\n".join(
        [
            _table(head, whole),
            _filled(
                "What ours is made of, on the clock (the cells are built once more for the model; one look is from the "
                "picture's file to its label map):"
            ),
            _table(made_of, parts),
            "![The first answer and its parts](performance/first_answer.svg)",
            f"Once on a machine, the operators in C are compiled: {operators:.1f} s.",
        ]
    )


SCALE = {
    "pixels": ("pixels", "one picture from its file to the answer's files, by `segformer_tiny_shapes`"),
    "classes": ("classes", "logits at a quarter of 512x683, drawn at random, to the answer's files"),
    "words": ("words", "one picture of 192x256 told apart by so many words, by `lseg_tiny_shapes`, compiled before"),
    "pictures": ("pictures", "`segment` with a folder of pictures of 64x64, by `segformer_tiny_shapes`"),
    "instances": ("instances", "the files of so many overlapping instances on 1024x1024"),
}


def grown(rows: Rows, what: str) -> list[tuple[int, Mapping[str, float]]]:
    """The points that were measured of what grows, the smallest first."""
    points = [(int(key.split()[1]), row) for key, row in rows.items() if key.split()[0] == what]
    return sorted(points, key=lambda point: point[0])


def _scale(rows: Rows) -> str:
    shown = ["![Time and memory as work grows](performance/scale.svg)"]
    for what, (title, text) in SCALE.items():
        points = grown(rows, what)
        if points:
            numbers = [f"{number:,}" for number, _ in points]
            body = [
                ["time", *(_seconds(row["seconds"]) for _, row in points)],
                ["processor's time", *(_seconds(row["cpu_seconds"]) for _, row in points)],
                ["memory", *(f"{row['peak_mb']} MB" for _, row in points)],
            ]
            shown.append(f"{title.capitalize()}: {text}.\n\n" + _table([title, *numbers], body))
    return "\n\n".join(shown)


def _metrics(rows: Rows) -> str:
    results = [result for row in rows.values() for result in row["results"]]
    body = [[row["size"], row["dtype"], str(row["megapixels_per_second"])] for row in results]
    return _table(["label map", "prediction", "megapixels a second"], body)


Table = Callable[[Rows], str]

_SECTIONS: tuple[tuple[str, str, str, Table], ...] = (
    (
        "forward",
        "A forward pass",
        "From normalised images to logits, or to the last classes and masks of the queries. SegFormer's reference is "
        "transformers, LSeg's the network of the modelscope package with five words, each of 77 tokens, which "
        "`segment` reads to the end of the longest alone. Mask2Former's is mmdetection 2.28.2, which makes all "
        "ten predictions at full size in eager mode, where ours makes the last one. "
        "torch.compile runs these networks; onnxruntime and OpenVINO run them as ONNX, OpenVINO in float32 and for "
        "the lowest latency.",
        _forward,
    ),
    (
        "adapter",
        "ViT-Adapter",
        "One crop of BEiT-L in its adapter with the wide Mask2Former, beside ModelScope's backbone with mmdetection's "
        "head, one after the other: together they do not fit into the memory of a small machine.",
        _pair,
    ),
    (
        "training",
        "A training step",
        "Forward, loss, backward and the optimiser's update. The references are those of the forward pass, with the "
        "losses of their packages; SegFormer's of mmsegmentation where the preset's name says so.",
        _pair,
    ),
    (
        "bfloat16",
        "bfloat16",
        "`--precision bfloat16` rounds the operands of linear layers; sums, attention, convolutions and all between "
        "are float32. It is never the default. On a processor without fast products of such numbers the rounded ones "
        "are multiplied in float32, in no less time, and a sentence says so. The output of randomly initialised "
        "networks differs by this much, in relative Frobenius norm, and this share of its pixels has another highest "
        "class (of Mask2Former, another highest query): nothing tells the classes of such networks apart, so that "
        "trained ones change less (`cells/precision.py`).",
        _bfloat16,
    ),
    (
        "end_to_end",
        "From pictures' files to answers' files",
        "`segment` with a folder of drawn photographs, and `evaluate` with label maps beside them, start, compilation "
        "and report taken off, beside the network alone on one of them; the network sees as many at once as "
        "`--batch-size` says.",
        _end_to_end,
    ),
    (
        "first_answer",
        "The first answer",
        "From the command `segment PICTURE --model NAME --checkpoint FILE` to its end, with a PyTorch file of full "
        "size that is in the system's cache and a picture of 512x683. PyTorch's process imports its packages, builds "
        "the reference, reads the same file, looks at the same input, and saves the class of each pixel.",
        _first_answer,
    ),
    (
        "scale",
        "Scale",
        "Each point is a process of its own, whose imports count in its memory and, but for pictures, not in its time.",
        _scale,
    ),
    ("metrics", "Counting label maps", "For the mIoU of 150 classes, on one core.", _metrics),
)

_LEVERS = """\
## What makes it fast

Each lever is described, with what it gives, beside its code.

| lever | where |
| --- | --- |
| operators in C, one pass over memory each, on all cores | [native](../ms_seg/cells/native/__init__.py) |
| products with their bias, activation and residual, by MindSpore's own oneDNN | [linear](../ms_seg/cells/linear.py) |
| tokens stay tokens: nothing is transposed between linear layers | [tokens](../ms_seg/cells/tokens.py) |
| attention in one pass, with windows and relative positions | [attention](../ms_seg/cells/attention.py) |
| 3x3 convolutions by Winograd's algorithm | [conv3x3.c](../ms_seg/cells/native/conv3x3.c) |
| the decoder's levels projected, fused and added at their own sizes | [all_mlp](../ms_seg/decoders/all_mlp.py) |
| maps resized in one pass, forward and backward | [resize](../ms_seg/cells/native/resize.c) |
| gradients that leave no index tables behind | [cross_entropy](../ms_seg/cells/cross_entropy.py) |
| label maps and masks in C | [postprocessing](../ms_seg/postprocessing/native.py) |
| reading ahead and saving behind the network | [pipeline](../ms_seg/inference/pipeline.py) |
| weights are read into a network that was never initialised | [loading](../ms_seg/checkpoints/loading.py) |
"""

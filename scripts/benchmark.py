"""Time our models beside the PyTorch references: python scripts/benchmark.py [--models NAME ...] [--sizes HxW ...]

With --peers beside torch.compile, onnxruntime and OpenVINO too.

Each implementation lives in a process of its own with the same number of threads and gets the same input; runs
alternate, so that whatever else the machine does weighs on all. Prints medians, ratios, the first call with its
compilation, and each process's peak memory, model construction included.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "parity")]

import drawn  # noqa: E402
import peers  # noqa: E402
from measure_metrics import measure_metrics  # noqa: E402

from ms_seg.presets import Preset, find_preset  # noqa: E402

Inputs = tuple[np.ndarray, ...]  # of a network, or of a loss
Start = Callable[[str, Inputs, int], Callable[[], object]]  # (model, inputs, threads) -> what runs it once

THREADS = os.cpu_count() or 1


def main() -> int:
    parser = _parser()
    options = parser.parse_args()
    if options.peers and (options.train or options.metrics):
        parser.error("--peers run networks forward alone")
    if options.metrics:
        rows = measure_metrics()
    else:
        starts = TRAINING if options.train else FORWARD
        if options.peers:
            starts = {**starts, **peers.FORWARD}
        rows = [
            measure(name, (options.batch, 3, *size), options.threads, options.runs, starts)
            for name in options.models
            for size in options.sizes
        ]
    if options.json:
        options.json.write_text(json.dumps({**_environment(options.threads), "results": rows}, indent=1) + "\n")
    return 0


def measure(name: str, shape: tuple[int, ...], threads: int, runs: int, starts: Mapping[str, Start]) -> dict:
    """One row of the table, printed as well: seconds and bytes of each implementation on one input shape.

    An implementation that cannot run this network is left out, with the reason. Raises RuntimeError if ours cannot.
    """
    workers, left_out = {}, {}
    for who, start in starts.items():
        try:
            workers[who] = _Worker(start, name, shape, threads)
        except RuntimeError as error:
            if who == "ours":
                raise
            left_out[who] = str(error)
    times: dict[str, list[tuple[float, float]]] = {who: [] for who in workers}
    for _ in range(runs):
        for who, worker in workers.items():
            times[who].append(worker.run())
    medians = {who: statistics.median(wall for wall, _ in values) for who, values in times.items()}
    figures = {
        who: {
            "seconds": round(medians[who], 4),
            "ratio": round(medians["ours"] / medians[who], 3),  # of our time to this one's
            "cpu_seconds": round(statistics.median(cpu for _, cpu in times[who]), 4),  # of all threads
            "first_call_seconds": round(worker.first_call, 2),
            "peak_mb": worker.close() // 2**20,
        }
        for who, worker in workers.items()
    }
    row = {"model": name, "input": "x".join(map(str, shape)), "figures": figures, "left_out": left_out}
    print(f"{name} {row['input']}")
    for who, figure in figures.items():
        ratio = "" if who == "ours" else f", ours takes {figure['ratio']:.2f} of it"
        seconds, first = f"{figure['seconds']:.3f} s{ratio}", f"first call {figure['first_call_seconds']:.1f} s"
        print(f"  {who:13} {seconds}; {first}; peak {figure['peak_mb']} MB", flush=True)
    for who, reason in left_out.items():
        print(f"  {who:13} left out: {reason}", flush=True)
    return row


class _Worker:
    """A process that has one implementation loaded and warmed up, and runs it once whenever asked.

    Raises RuntimeError where the implementation cannot run the network, with its first line.
    """

    def __init__(self, start: Callable, name: str, shape: tuple[int, ...], threads: int):
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, start, name, shape, threads), daemon=True)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # inherited, and read when the frameworks are imported
        self._process.start()
        other.close()
        try:
            self.first_call = self._connection.recv()
        except EOFError:
            raise RuntimeError("its process ended") from None
        if isinstance(self.first_call, str):
            raise RuntimeError(self.first_call)

    def run(self) -> tuple[float, float]:
        """Seconds of one run, and of the processor's time that its process took meanwhile."""
        self._connection.send("run")
        return self._connection.recv()

    def close(self) -> int:
        """Ends the process; returns its peak memory in bytes."""
        self._connection.send("stop")
        peak = self._connection.recv()
        self._process.join()
        return peak


def _serve(connection: Connection, start: Callable, name: str, shape: tuple[int, ...], threads: int) -> None:
    try:
        run = start(name, drawn.inputs(find_preset(name), shape, seed=0), threads)
        first_call, _ = _seconds(run)
    except Exception as error:
        return connection.send(f"{type(error).__name__}: {str(error).strip()}".splitlines()[0])
    _seconds(run)  # a second warm-up, while the other implementation waits: the first call's compilation is told apart
    connection.send(first_call)
    while connection.recv() == "run":
        connection.send(_seconds(run))
    connection.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _seconds(run: Callable[[], object]) -> tuple[float, float]:
    start, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - cpu


def _start_ours(
    name: str, inputs: Inputs, threads: int, precision: Literal["float32", "bfloat16"] = "float32"
) -> Callable[[], object]:
    os.environ.setdefault("GLOG_v", "3")
    import mindspore as ms

    import ms_seg
    from ms_seg.inference.execution import Runner

    network = Runner(ms_seg.create_model(name), precision=precision)
    tensors = [ms.Tensor(array) for array in inputs]

    def run() -> list[np.ndarray]:
        return [logits.asnumpy() for logits in network(*tensors)]

    return run


def _start_theirs(name: str, inputs: Inputs, threads: int) -> Callable[[], object]:
    import references
    import torch

    torch.set_num_threads(threads)
    model = references.build_reference(find_preset(name))
    return lambda: references.outputs(model, {}, *inputs)


def start_bfloat16(name: str, inputs: Inputs, threads: int) -> Callable[[], object]:
    """Ours with its linear layers' products in bfloat16."""
    return _start_ours(name, inputs, threads, "bfloat16")


FORWARD: dict[str, Start] = {"ours": _start_ours, "PyTorch": _start_theirs}


def _train_ours(name: str, inputs: Inputs, threads: int) -> Callable[[], object]:
    os.environ.setdefault("GLOG_v", "3")
    import mindspore as ms

    import ms_seg
    from ms_seg.distributed import World
    from ms_seg.training.step import Replicated, TrainStep
    from ms_seg.training.tasks import training_task

    (images, *tokens), model = inputs, ms_seg.create_model(name)
    recipe = replace(model.preset.recipe, batch_size=len(images), accumulate=1)
    task = training_task(model.preset, model.preset.tasks[0])
    step = TrainStep(task.loss(model, recipe), recipe, World(0, 1, []))
    truth = REFERENCES[model.preset.system].truth(model.preset, inputs)
    if not recipe.text_multiplier:  # the text transformer is frozen, and has read the words once
        tokens = [model.text(ms.Tensor(texts)).asnumpy() for texts in tokens]
    words = [Replicated(texts) for texts in tokens]
    return lambda: step(0, (images, *truth, *words))


def _train_theirs(name: str, inputs: Inputs, threads: int) -> Callable[[], object]:
    import torch

    torch.set_num_threads(threads)
    preset = find_preset(name)
    reference = REFERENCES[preset.system]
    return reference.train(preset, inputs, reference.truth(preset, inputs))


TRAINING: dict[str, Start] = {"ours": _train_ours, "PyTorch": _train_theirs}


def _train_segformer(preset: Preset, inputs: Inputs, truth: Inputs) -> Callable[[], object]:
    import references
    import torch

    model = references.build_reference(preset).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-5, weight_decay=0.01)
    x, labels = torch.from_numpy(*inputs), torch.from_numpy(*truth).long()

    def step() -> float:
        logits = model.decode_head(model.backbone(x)) if hasattr(model, "backbone") else model(pixel_values=x).logits
        logits = torch.nn.functional.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)
        loss = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _train_lseg(preset: Preset, inputs: Inputs, truth: Inputs) -> Callable[[], object]:
    """As lang-seg trains: the text transformer is in no group of the optimiser, and reads the words in every step."""
    import references
    import torch

    model = references.build_reference(preset).train()
    model.net.clip_pretrained.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.001, momentum=0.9, weight_decay=1e-4)
    images, tokens, labels = map(torch.from_numpy, (*inputs, *truth))

    def step() -> float:
        loss = torch.nn.functional.cross_entropy(model(images, tokens), labels.long(), ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _train_mask2former(preset: Preset, inputs: Inputs, truth: Inputs) -> Callable[[], object]:
    import mask2former_reference
    import torch

    model = mask2former_reference.build(preset, preset.recipe)
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, x = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.05), torch.from_numpy(*inputs)
    labels, masks = (torch.from_numpy(array).long() for array in truth)

    def step() -> float:
        pairs = mask2former_reference.all_layers(model, x)
        losses = model.panoptic_head.loss(*zip(*pairs, strict=True), list(labels), list(masks), [{}] * len(x))
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 0.01)
        optimizer.step()
        return loss.item()

    return step


def _segments(preset: Preset, inputs: Inputs) -> Inputs:
    """Classes (N, 14) and masks (N, 14, H, W) of rectangles: as many as a picture of COCO has segments, about."""
    generator, (n, _, height, width) = np.random.default_rng(1), inputs[0].shape
    masks = np.zeros((n, 14, height, width), np.uint8)
    for mask in masks.reshape(-1, height, width):
        top, left = generator.integers(0, (height // 2, width // 2))
        mask[top : top + height // 3, left : left + width // 3] = 1
    return generator.integers(0, preset.num_classes, masks.shape[:2]).astype(np.int32), masks


def _labels(preset: Preset, inputs: Inputs) -> Inputs:
    """Random labels (N, H, W), of the classes or of the words."""
    images, *tokens = inputs
    n, _, height, width = images.shape
    classes = len(*tokens) if tokens else preset.num_classes
    return (np.random.default_rng(1).integers(0, classes, (n, height, width)).astype(np.int32),)


@dataclass(frozen=True)
class TrainingReference:
    """How a system's training is timed. truth: (preset, inputs) -> what else a batch holds. train: (preset, inputs,
    truth) -> PyTorch's optimiser step."""

    truth: Callable[[Preset, Inputs], Inputs]
    train: Callable[[Preset, Inputs, Inputs], Callable[[], object]]


REFERENCES = {
    "segformer": TrainingReference(_labels, _train_segformer),
    "lseg": TrainingReference(_labels, _train_lseg),
    "mask2former": TrainingReference(_segments, _train_mask2former),
}


def _environment(threads: int) -> dict:
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {threads} threads",
        **{name: importlib.metadata.version(name) for name in ("mindspore", "torch", "numpy")},
    }


def _size(text: str) -> tuple[int, int]:
    height, width = text.lower().split("x")
    return int(height), int(width)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["segformer_b0_cocostuff164k"], metavar="NAME")
    parser.add_argument("--sizes", nargs="+", type=_size, default=[(512, 512)], metavar="HxW")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--train", action="store_true", help="time an optimiser step instead of a forward pass")
    parser.add_argument(
        "--peers",
        action="store_true",
        help="time torch.compile, onnxruntime and OpenVINO as well (pip install '.[peers]')",
    )
    parser.add_argument("--metrics", action="store_true", help="time our mIoU on one core instead of a network")
    parser.add_argument("--runs", type=int, default=10, help="timed runs of each, alternating")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())

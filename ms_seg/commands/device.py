"""The one place where a device is chosen."""

from __future__ import annotations

import argparse
import re
from typing import Literal

from ms_seg.cells.interrupts import load_mindspore
from ms_seg.presets import MAX_SIDE

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")

DEVICES = ("CPU", "GPU", "Ascend")


def add_device(parser: argparse._ActionsContainer) -> None:
    """Give a command `--device`."""
    parser.add_argument("--device", choices=DEVICES, default="CPU", help="where to run (default: %(default)s)")
    parser.add_argument(
        "--full-float32", action="store_true",
        help="on Ascend and GPU compute float32 in all of its digits, without HF32 and TF32, to compare with a "
        "reference's numbers",
    )  # fmt: skip


def add_mode(parser: argparse._ActionsContainer, default: str | None = "graph") -> None:
    """Give a command `--mode`. default: None where the command chooses, see `mode_of_segment`."""
    parser.add_argument(
        "--mode",
        choices=("graph", "pynative"),
        default=default,
        help="compile the network, or run its operators one by one (default: "
        f"{default or 'graph; for one picture pynative, whose answer is there sooner'})",
    )


def mode_of_segment(looks_once: bool, device: str) -> Literal["graph", "pynative"]:
    """How `segment` runs a network unless told otherwise. looks_once: it sees one picture, and that not by windows.

    Compiling takes longer than one picture does operator by operator. CPU time of the whole command's work in seconds,
    two cores (AMD Zen 3), compiled and not: SegFormer-B5 21.8 and 10.4, LSeg with ViT-L 20.2 and 15.7, Mask2Former with
    Swin-L 41.6 and 27.7. Later pictures take 4.1 and 6, 7.7 and 9.6, 20.0 and 23.3.
    """
    return "pynative" if looks_once and device == "CPU" else "graph"


def add_precision(parser: argparse._ActionsContainer) -> None:
    """Give a command `--precision`."""
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="bfloat16 is faster where the processor multiplies such numbers fast, and changes answers a little "
        "(default: %(default)s)",
    )


def add_batch_size(parser: argparse._ActionsContainer) -> None:
    """Give a command `--batch-size`."""
    parser.add_argument(
        "--batch-size",
        type=int,
        default=1,
        metavar="N",
        help="pictures that the network sees together, where their inputs are of one size; the answers are the same "
        "but for rounding, and a GPU or Ascend is faster (default: %(default)s)",
    )


def add_sizes(parser: argparse._ActionsContainer) -> None:
    """Give a command `--sizes`."""
    parser.add_argument(
        "--sizes", type=sizes, default=(), metavar="HxW,HxW",
        help="the only sizes of the network's input, each compiled once: a smaller input is padded, which changes its "
        "answer a little, and a larger one is refused (default: any size)",
    )  # fmt: skip


def sizes(text: str) -> tuple[tuple[int, int], ...]:
    """The (height, width) of each "HxW". Raises ArgumentTypeError for anything else."""
    return tuple(size(part.strip()) for part in text.split(","))


def size(text: str) -> tuple[int, int]:
    """(height, width) of "HxW". Raises ArgumentTypeError for anything else."""
    found = _SIZE.fullmatch(text)
    sides = (int(found[1]), int(found[2])) if found else (0, 0)
    if not all(1 <= side <= MAX_SIDE for side in sides):
        raise argparse.ArgumentTypeError(f"it must be height x width in pixels, such as 512x1024: {text!r} is not")
    return sides


def padded_line(padded: int, what: str = "pictures") -> str:
    """That inputs were padded to one of `--sizes`."""
    return f"{padded} {what} were padded to one of --sizes: their answers differ a little from those without padding"


def set_up_device(name: str, full_float32: bool = False) -> None:
    """Run on this device from now on; to be called before anything else imports MindSpore.

    full_float32: let no operator compute float32 in fewer digits. CANN does so in convolutions unless told otherwise,
    and on the first Atlas training cards wherever float16 will do.

    Raises ValueError if this machine's MindSpore cannot.
    """
    load_mindspore()
    import mindspore as ms

    if ms.get_context("device_target") == name:
        return  # setting it again is refused once something has run
    try:
        ms.set_device(name)
    except RuntimeError as error:
        reason = str(error).split(".")[0]
        raise ValueError(f"device {name} cannot be used here: {reason}") from None
    if full_float32:
        _keep_float32(name)


def _keep_float32(device: str) -> None:
    from mindspore import device_context

    if device == "Ascend":
        precision = device_context.ascend.op_precision
        precision.conv_allow_hf32(False)
        precision.matmul_allow_hf32(False)
        precision.precision_mode("must_keep_origin_dtype")
    elif device == "GPU":
        device_context.gpu.op_precision.conv_allow_tf32(False)
        device_context.gpu.op_precision.matmul_allow_tf32(False)

"""The one place where a device is chosen."""

from __future__ import annotations

import argparse

from ms_seg.cells.interrupts import load_mindspore

DEVICES = ("CPU", "GPU", "Ascend")


def add_device(parser: argparse._ActionsContainer) -> None:
    """Give a command `--device`."""
    parser.add_argument("--device", choices=DEVICES, default="CPU", help="where to run (default: %(default)s)")


def add_mode(parser: argparse._ActionsContainer) -> None:
    """Give a command `--mode`."""
    parser.add_argument(
        "--mode",
        choices=("graph", "pynative"),
        default="graph",
        help="compile the network, or run its operators one by one (default: %(default)s)",
    )


def add_precision(parser: argparse._ActionsContainer) -> None:
    """Give a command `--precision`."""
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="bfloat16 is faster where the processor multiplies such numbers, and changes answers a little "
        "(default: %(default)s)",
    )


def add_batch_size(parser: argparse._ActionsContainer) -> None:
    """Give a command `--batch-size`."""
    parser.add_argument(
        "--batch-size",
        type=int,
        default=1,
        metavar="N",
        help="pictures that the network sees together, where their inputs are of one size; the answers are the same, "
        "and a GPU or Ascend is faster (default: %(default)s)",
    )


def set_up_device(name: str) -> None:
    """Run on this device from now on; to be called before anything else imports MindSpore.

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

"""What every system is to the rest of the package."""

from __future__ import annotations

from typing import Any

from mindspore import nn

from ms_seg.cells.interrupts import interruptible
from ms_seg.presets import Preset


class Model(nn.Cell):
    """A network, and what is known of it.

    preset: the row of the table that it was built from. checkpoint: the file that its weights come from, or None.
    """

    preset: Preset
    checkpoint: str | None = None

    def __call__(self, *inputs: Any, **arguments: Any) -> Any:
        with interruptible():
            return super().__call__(*inputs, **arguments)

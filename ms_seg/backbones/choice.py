"""One backbone out of those that a system takes, by the arguments that it was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mindspore import nn


def choose_backbone(system: str, choices: Mapping[Callable[..., nn.Cell], Mapping[str, Any]]) -> nn.Cell:
    """The backbone of which every argument is given. Its `out_channels` are those of its maps, the finest first.

    choices: what makes a backbone -> its arguments in their order, by the system's names for them; None is not given.
    Raises ValueError, with these names, if no backbone has all its arguments or several have.
    """
    given = [make for make, arguments in choices.items() if None not in arguments.values()]
    if len(given) != 1:
        names = "; or ".join(", ".join(arguments) for arguments in choices.values())
        raise ValueError(f"{system} takes the arguments of one backbone: {names}")
    (make,) = given
    return make(*choices[make].values())

"""What is known of a model beside its tensors, from whichever place it was written to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ms_seg.label_sets import LabelSet
from ms_seg.presets import Preset


@dataclass(frozen=True)
class Notes:
    """title: where they are from. system: whose model they describe, model: which preset; "" where they do not say it.

    arithmetic: constructor arguments that shapes cannot tell. fields: of the preset, those of its preprocessing and
    `tasks`. labels: the classes, see `Preset.label_set`; None where they have no names. things: how many of them, the
    first ones, are things; None where that is not said.

    published: the published model that it is a copy of, where that is said.

    backbone, arguments: where the whole network is described, its backbone's name and sizes, and the system's own
    arguments. Then it need not be a published one.

    blue_first: whether the network sees blue before red. Ours are given RGB, and their weights are changed for it.

    lines: what a person is to be told.
    """

    title: str = ""
    system: str = ""
    model: str = ""
    arithmetic: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    labels: str | LabelSet | None = None
    things: int | None = None
    published: Preset | None = None
    backbone: tuple[str, Mapping[str, Any]] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    blue_first: bool = False
    lines: tuple[str, ...] = ()

    def having(self, **changes: Any) -> Notes:
        """The same with these changed."""
        return replace(self, **changes)

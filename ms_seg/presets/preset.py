"""What a row of the table of published models says."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mindspore import nn

    from ms_seg.label_sets import LabelSet

ASSETS = Path(__file__).parents[1] / "assets"  # the drawn world's models and pictures
EMBEDDED = "ms_seg/assets/"
TINY_VOCABULARY = 594  # symbols of ms_seg/assets/merges.txt

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB, of values 0..255
IMAGENET_STD = (58.395, 57.12, 57.375)

RESIZES = ("keep_ratio", "round_up", "squash", "shrink", "fit")
QUERY_RULES = ("mmdet", "detectron2", "transformers")
TASKS = ("panoptic", "instance", "semantic")
LONGEST_SIDE = 16384  # pixels: an input with two such sides takes 3 GB before the network has seen it


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input, and how logits come back to the picture's size.

    resize: "keep_ratio" scales the picture until its short side is `short_side` or its long side `long_side`, whichever
        comes first (cv2 bilinear, mmsegmentation's test configuration); "round_up" does the same and then stretches
        each side up to the next multiple of 32 (the original's AlignedResize); "squash" makes a square of `short_side`
        regardless of the ratio (PIL bilinear, transformers' image processor); "shrink" is "keep_ratio" for pictures
        that are larger, and leaves the others as they are; "fit" makes the long side `long_side` and cuts the other one
        down to a whole number (PIL bilinear, ModelScope's text-driven pipeline).
    short_side, long_side: 1..LONGEST_SIDE.
    pad_multiple: zeros, after normalisation, are added right and bottom up to a multiple of this, 1..LONGEST_SIDE.
    mean, std: per RGB channel, of values 0..255; std is above 0.
    logits_via_input: resize logits to the network's input first and to the picture then (mmsegmentation, EasyCV, the
        original), instead of to the picture at once (transformers). Both bilinear, align_corners=False.
    resize_mask: resize no logits at all but the mask that they give, in two classes, as a picture of 0 and 255 that is
        cut at half (ModelScope's text-driven pipeline).
    query_rule: of a model that gives classes and masks of queries, whose rule makes segments of them: "mmdet"
        (ModelScope and EasyCV too), "detectron2" or "transformers", see `inference.rules`.

    Raises ValueError for anything else.
    """

    resize: str
    short_side: int = 512
    long_side: int = 2048
    pad_multiple: int = 1
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    logits_via_input: bool = True
    resize_mask: bool = False
    query_rule: str = "mmdet"

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise ValueError(f"unknown resize rule {self.resize!r}: one of {', '.join(RESIZES)}")
        if self.query_rule not in QUERY_RULES:
            raise ValueError(f"unknown query_rule {self.query_rule!r}: one of {', '.join(QUERY_RULES)}")
        for key in ("short_side", "long_side", "pad_multiple"):
            if not 1 <= getattr(self, key) <= LONGEST_SIDE:
                raise ValueError(f"{key} is {getattr(self, key)}: it can be 1 to {LONGEST_SIDE}")
        for key in ("mean", "std"):
            if len(getattr(self, key)) != 3 or not all(map(math.isfinite, getattr(self, key))):
                raise ValueError(f"{key} is {getattr(self, key)}: it is three numbers, of red, green and blue")
        if min(self.std) <= 0:
            raise ValueError(f"std is {self.std}: pixels are divided by it, so that it is above 0")


@dataclass(frozen=True)
class Preset:
    """One published model.

    arguments are the system's own constructor arguments; label_set names a file of `data/label_sets`, is a person's own
    LabelSet of one class for each output, or None when the classes have no names; upstream lists the ids under which
    the weights are published.
    """

    name: str
    system: str
    arguments: Mapping[str, Any]
    preprocessing: Preprocessing
    label_set: str | LabelSet | None
    licence: str
    upstream: tuple[str, ...] = ()
    score: str = ""

    def override(self, **changes: Any) -> Preset:
        """The same preset with fields changed, by their own names: constructor arguments, preprocessing, label_set.

        Raises ValueError for a field that the preset does not have, and for a value that it cannot have. Changing
        `num_classes` alone leaves the classes without names, since the former ones no longer fit.
        """
        own = {"label_set"}
        steps = {f.name for f in fields(Preprocessing)}
        for key in changes:
            if key not in self.arguments and key not in steps and key not in own:
                known = sorted({*self.arguments, *steps, *own})
                raise ValueError(f"{self.name} has no field {key!r}{nearest(key, known)}")
        if changes.get("num_classes") not in (None, self.arguments.get("num_classes")):
            changes.setdefault("label_set", None)
        changed = replace(
            self,
            arguments={k: changes.get(k, v) for k, v in self.arguments.items()},
            preprocessing=replace(self.preprocessing, **{k: v for k, v in changes.items() if k in steps}),
            label_set=changes.get("label_set", self.label_set),
        )
        outputs, labels = changed.arguments.get("num_classes"), changed.label_set
        if labels is not None and not isinstance(labels, str) and len(labels) != outputs:
            raise ValueError(f"label_set has {len(labels)} classes, and the model {outputs}")
        return changed

    @property
    def takes_words(self) -> bool:
        """Whether the classes are words that come with a picture, and not the model's own."""
        return self.system == "lseg"

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the model can answer, of TASKS; the first is what it is asked unless a person says otherwise."""
        return TASKS if self.system == "mask2former" else ("semantic",)

    @property
    def embedded(self) -> Path | None:
        """The checkpoint that comes with this package, for the models of the drawn world; None for all others."""
        (first, *_) = self.upstream
        return ASSETS / first.removeprefix(EMBEDDED) if first.startswith(EMBEDDED) else None

    def build(self) -> nn.Cell:
        """The network, freshly initialised, in inference mode.

        Its attribute `preset` is this row, and `checkpoint` the file that its weights come from: None here.
        """
        from ms_seg.systems import SYSTEMS  # imported late: reading the table needs no MindSpore

        model = SYSTEMS[self.system](**self.arguments)
        model.preset, model.checkpoint = self, None
        return model.set_train(False)


def nearest(word: str, known: list[str]) -> str:
    """The words that come nearest, to go on a sentence about an unknown one."""
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5) or known[:3]
    return f"; the nearest are {', '.join(near)}"

"""What a row of the table of published models says: plain data, which needs no MindSpore to be read."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from ms_seg.label_sets import LabelSet
from ms_seg.presets.recipe import Recipe

ASSETS = Path(__file__).parents[1] / "assets"  # the drawn world's models and pictures
TINY_VOCABULARY = 594  # symbols of ms_seg/assets/merges.txt

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB, of values 0..255
IMAGENET_STD = (58.395, 57.12, 57.375)

RESIZES = (
    "keep_ratio",
    "keep_ratio_pil",
    "round_up",
    "squash",
    "stretch",
    "stretch_cv2",
    "shortest_edge",
    "shrink",
    "fit",
)
RESAMPLES = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # in the order of Pillow's numbers
QUERY_RULES = ("mmdet", "detectron2", "detectron2_all", "mmseg", "transformers", "transformers_maskformer")
TASKS = ("panoptic", "instance", "semantic")
MAX_SIDE = 16384  # pixels: an input with two such sides takes 3 GB before the network has seen it


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input, and how logits come back to the picture's size.

    resize: "keep_ratio" scales the picture until its short side is `short_side` or its long side `long_side`, whichever
        comes first (cv2 bilinear, mmsegmentation's test configuration), "keep_ratio_pil" likewise (PIL, detectron2's
        ResizeShortestEdge); "round_up" does the same and then stretches
        each side up to the next multiple of 32 (the original's AlignedResize); "squash" makes a square of `short_side`
        regardless of the ratio, and "stretch" a picture that is `short_side` high and `long_side` wide (PIL,
        transformers' image processors), "stretch_cv2" likewise by cv2 (mmcv's Resize that keeps no ratio);
        "shortest_edge" keeps the ratio as "keep_ratio" does, and then takes each side
        up to the next multiple of `pad_multiple`, in one step (PIL, transformers' Mask2FormerImageProcessor); "shrink"
        is "keep_ratio" for pictures that are larger, and leaves the others as they are; "fit" makes the long side
        `long_side` and cuts the other one down to a whole number (PIL, ModelScope's text-driven pipeline).
    short_side, long_side: 1..MAX_SIDE.
    resample: the filter of the resizes that are PIL's, one of RESAMPLES.
    pad_multiple: zeros, after normalisation, are added right and bottom up to a multiple of this, 1..MAX_SIDE.
    mean, std: per RGB channel, of values 0..255; std is above 0.
    logits_via_input: resize logits to the network's input first and to the picture then (mmsegmentation, EasyCV, the
        original), instead of to the picture at once (transformers). Both bilinear, align_corners=False.
    align_corners: of the first of these two resizes, whether the corners' centres lie on each other
        (segmentation_models.pytorch's Segformer).
    resize_mask: resize no logits at all but the mask that they give, in two classes, as a picture of 0 and 255 that is
        cut at half (ModelScope's text-driven pipeline).
    threshold: of a model with one output, whose sigmoid is the probability of the object: from where on a pixel is it.
    query_rule: of a model that gives classes and masks of queries, whose rule makes segments of them: "mmdet"
        (ModelScope and EasyCV too), "detectron2", "detectron2_all", "mmseg", "transformers" or
        "transformers_maskformer" (the masks of a Mask2Former by MaskFormer's processor), see `postprocessing.rules`.

    Raises ValueError for anything else.
    """

    resize: str
    short_side: int = 512
    long_side: int = 2048
    resample: str = "bilinear"
    pad_multiple: int = 1
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    logits_via_input: bool = True
    align_corners: bool = False
    resize_mask: bool = False
    threshold: float = 0.5
    query_rule: str = "mmdet"

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise ValueError(f"resize is {self.resize!r}: it must be one of {', '.join(RESIZES)}")
        if self.resample not in RESAMPLES:
            raise ValueError(f"resample is {self.resample!r}: it must be one of {', '.join(RESAMPLES)}")
        if self.query_rule not in QUERY_RULES:
            raise ValueError(f"query_rule is {self.query_rule!r}: it must be one of {', '.join(QUERY_RULES)}")
        for key in ("short_side", "long_side", "pad_multiple"):
            if not 1 <= getattr(self, key) <= MAX_SIDE:
                raise ValueError(f"{key} is {getattr(self, key)}: it must be 1 to {MAX_SIDE}")
        for key in ("mean", "std"):
            if len(getattr(self, key)) != 3 or not all(map(math.isfinite, getattr(self, key))):
                raise ValueError(f"{key} is {getattr(self, key)}: it must be three numbers, of red, green and blue")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold is {self.threshold}: it must be a probability between 0 and 1")
        if min(self.std) <= 0:
            raise ValueError(f"std is {self.std}: it must be above 0, for pixels are divided by it")


@dataclass(frozen=True)
class Window:
    """A window that is moved over a large input, and how far it moves, in pixels of the network's input.

    across: its width and how far it moves across, where it is no square; None for the same as down.
    exact: every window is exactly `crop` pixels a side, as a network needs whose positions are of one size. An input
        that is shorter is padded with zeros up to it; otherwise a window is as short as the input.

    Raises ValueError unless 1 <= stride <= crop: between windows further apart nothing would be seen; and for an exact
    one that is no square.
    """

    crop: int
    stride: int
    exact: bool = False
    across: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for crop, stride in self.sides:
            if not 1 <= stride <= crop:
                raise ValueError(f"stride must be 1 to {crop}, the side of the window: {stride} is not")
        if self.exact and self.across:
            raise ValueError(f"a window of one size alone must be a square: {self.crop} by {self.across[0]} is not")

    @property
    def sides(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Crop and stride of each side, down and across."""
        down = self.crop, self.stride
        return down, self.across or down


Hub = Literal[
    "modelscope", "huggingface", "openmmlab", "detectron2", "google-drive", "easycv", "github", "openai", "package"
]  # fmt: skip


@dataclass(frozen=True)
class Published:
    """Where the weights of a model are published.

    hub: whose server; "package" for the files that come with this package. id: the model's name there; on a server of
    files, such as openmmlab's, its folder. file: the file that holds the weights, where it is known. checksum:
    "sha256:" or "md5:" and the first digits that the publisher gives, where there are any.
    """

    hub: Hub
    id: str
    file: str = ""
    checksum: str = ""

    def __str__(self) -> str:
        if self.hub == "google-drive":
            return f"{self.file} (https://drive.google.com/file/d/{self.id})"
        return f"{self.id} ({self.hub})"


@dataclass(frozen=True)
class Preset:
    """One published model.

    system, arguments: the class of `ms_seg.systems` and its own constructor arguments. backbone: the name of a class of
    `ms_seg.backbones`, and its sizes. output: what the network gives, "logits" of classes, logits of "words" that come
    with a picture, or "queries", each a class and a mask; of an exported graph also "scores" of classes, which it has
    made of queries. tasks: what can be answered; the first is what is answered
    unless a person says otherwise, but where ask_task is set: then nobody knows which of them a model was trained for,
    and a person must say it. arithmetic: names of arguments and sizes that change the numbers, and that the
    shapes of the weights cannot tell: they travel with the weights. window: how an input is looked at, None for at
    once. label_set: the name of a published one, a person's own LabelSet of one class for each output, or None where
    the classes have no names. recipe: how it was trained. licence: of the published weights. score: as published.
    label_values: of a person's own labels, how they were numbered that it was trained on, as `data.numbering` records
    it.
    """

    name: str
    system: str
    backbone: tuple[str, Mapping[str, Any]]
    arguments: Mapping[str, Any]
    output: Literal["logits", "words", "queries", "scores"]
    preprocessing: Preprocessing
    label_set: str | LabelSet | None
    recipe: Recipe
    licence: str
    published: tuple[Published, ...]
    tasks: tuple[str, ...] = ("semantic",)
    ask_task: bool = False
    arithmetic: tuple[str, ...] = ()
    window: Window | None = None
    score: str = ""
    label_values: Mapping[str, Any] | None = None

    def override(self, **changes: Any) -> Preset:
        """The same preset with fields changed, by their own names: arguments of the system, sizes of the backbone,
        preprocessing, label_set, label_values, window, ask_task, tasks, which can only become fewer and then are known,
        and backbone, a pair of a name and sizes, which replaces the whole.

        Raises ValueError for a field that the preset does not have, and for a value that it cannot have. Changing
        `num_classes` alone leaves the classes without names, since the former ones no longer fit. Exact windows follow
        the `grid` of the network's positions, unless they are given too. A `window` that is a number is a Swin
        Transformer's size of that name.
        """
        changes = {key: _frozen(value) for key, value in changes.items()}
        name, sizes = changes.get("backbone", self.backbone)
        grid = changes.get("grid", sizes.get("grid"))
        window = self._window_for(grid)
        if isinstance(changes.get("window", ""), Window | None):
            window = changes.pop("window")
        elif "window" in changes and "window" not in sizes:
            raise ValueError(f"window must be a ms_seg.presets.Window or None: {changes['window']!r} is not")
        own = {"label_set", "label_values", "window", "tasks", "ask_task", "backbone"}
        steps = {f.name for f in fields(Preprocessing)}
        for key in changes:
            if key not in self.arguments and key not in steps and key not in own and key not in sizes:
                known = sorted({*self.arguments, *steps, *own, *sizes})
                raise ValueError(f"{self.name} has no field {key!r}{nearest(key, known)}")
        if changes.get("num_classes") not in (None, self.num_classes):
            changes.setdefault("label_set", None)
        tasks = changes.get("tasks", self.tasks)
        if not tasks or not isinstance(tasks, tuple) or any(task not in self.tasks for task in tasks):
            raise ValueError(f"tasks must list some of {', '.join(self.tasks)} for {self.name}: {tasks!r} does not")
        changed = replace(
            self,
            backbone=(name, {k: changes.get(k, v) for k, v in sizes.items()}),
            arguments={k: changes.get(k, v) for k, v in self.arguments.items()},
            preprocessing=replace(self.preprocessing, **{k: v for k, v in changes.items() if k in steps}),
            label_set=changes.get("label_set", self.label_set),
            label_values=changes.get("label_values", self.label_values),
            window=window,
            tasks=tasks,
            ask_task=changes.get("ask_task", self.ask_task and "tasks" not in changes),
        )
        told, labels = changed.told_apart, changed.label_set
        if isinstance(labels, LabelSet) and len(labels) != told:
            raise ValueError(f"label_set has {len(labels)} classes, and the model {told}: they must be as many")
        return changed

    def _window_for(self, grid: int | None) -> Window | None:
        """The window of a network with so many patches on a side, if it has a grid and windows are exact."""
        known, window = self.backbone[1].get("grid"), self.window
        if not grid or not known or window is None or not window.exact:
            return window
        return replace(window, crop=window.crop * grid // known, stride=window.stride * grid // known)

    @property
    def num_classes(self) -> int | None:
        """How many classes the model tells apart; None where they are words that come with a picture."""
        return self.arguments.get("num_classes")

    @property
    def told_apart(self) -> int | None:
        """How many classes answers have: of one logit, background and object."""
        return 2 if self.num_classes == 1 and self.output == "logits" else self.num_classes

    @property
    def sizes(self) -> Mapping[str, Any]:
        """The system's arguments and the backbone's sizes by their names, which no two share."""
        return {**self.backbone[1], **self.arguments}

    @property
    def embedded(self) -> Path | None:
        """The checkpoint that comes with this package, for the models of the drawn world; None for all others."""
        return next((ASSETS / entry.file for entry in self.published if entry.hub == "package"), None)


def _frozen(value: Any) -> Any:
    """Lists as tuples, as the table has them: JSON knows lists alone."""
    if isinstance(value, dict):
        return {key: _frozen(part) for key, part in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def nearest(word: str, known: Sequence[str]) -> str:
    """The words that come nearest, to go on a sentence about an unknown one: first those that begin with it."""
    begin = [name for name in known if name.startswith(word)]
    near = begin or difflib.get_close_matches(word, known, n=3, cutoff=0.5) or known
    return f"; the nearest are {', '.join(near[:3])}"

"""Every number of a training run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

Precision = Literal["float32", "float16", "bfloat16"]
Optimizer = Literal["adamw", "sgd", "adam"]
Augmentation = Literal["mmseg", "lang_seg", "lsj"]
Schedule = Literal["poly", "step"]


@dataclass(frozen=True)
class Recipe:
    """The numbers of one run. Each is an option of `python -m ms_seg train`, and its text is that option's help."""

    steps: Annotated[int, "optimiser steps of the whole run"] = 160_000
    batch_size: Annotated[int, "batch size: pictures of one optimiser step, over all processes"] = 16
    accumulate: Annotated[
        int, "gradient accumulation: passes forward and back that make one optimiser step, to save memory"
    ] = 1
    precision: Annotated[
        Precision, "mixed precision (AMP): of convolutions and matrix products; weights and the rest are float32"
    ] = "float32"
    recompute: Annotated[
        bool, "activation checkpointing: compute what is within blocks and layers again going back, to save memory"
    ] = False

    augmentation: Annotated[
        Augmentation, "whose pictures: SegFormer's in mmsegmentation, LSeg's, or Mask2Former's large-scale jitter"
    ] = "mmseg"
    crop_size: Annotated[int, "side of the square crop, or its height, pixels"] = 512
    crop_width: Annotated[int, "width of a crop that is no square, pixels; 0 for a square"] = 0
    short_side: Annotated[int, "a picture is resized to fit into (long side, short side) times a drawn ratio"] = 512
    long_side: Annotated[int, "the other side of that frame; lang_seg resizes to it alone, times the ratio"] = 2048
    scale_min: Annotated[float, "the smallest ratio that is drawn"] = 0.5
    scale_max: Annotated[float, "the largest ratio that is drawn"] = 2.0
    scales: Annotated[
        tuple[float, ...], "ratios of which one is chosen for the short side, instead of drawing one"
    ] = ()
    cat_max_ratio: Annotated[float, "a crop of which one class covers more is drawn again, ten times at most"] = 0.75
    flip: Annotated[float, "probability of a mirror image"] = 0.5
    photometric: Annotated[bool, "whether brightness, contrast, saturation and hue are jittered"] = True

    optimizer: Annotated[Optimizer, "what moves the weights: AdamW, SGD with momentum, or Adam"] = "adamw"
    learning_rate: Annotated[float, "before warm-up and decay scale it"] = 6e-5
    momentum: Annotated[float, "SGD's momentum"] = 0.9
    beta1: Annotated[float, "Adam's decay rate of the mean of the gradients"] = 0.9
    beta2: Annotated[float, "Adam's decay rate of the mean of their squares"] = 0.999
    weight_decay: Annotated[float, "AdamW's, times the learning rate; SGD and Adam add it to the gradients"] = 0.01
    warmup_steps: Annotated[int, "steps in which the learning rate grows linearly"] = 1500
    warmup_ratio: Annotated[float, "the fraction of the learning rate that the warm-up begins with"] = 1e-6
    schedule: Annotated[Schedule, "how the learning rate falls: as a polynomial, or at the milestones"] = "poly"
    power: Annotated[float, "of the polynomial in which the learning rate falls to zero at the last step"] = 1.0
    decay_every: Annotated[int, "steps between two values of that polynomial, such as those of an epoch"] = 1
    milestones: Annotated[tuple[float, ...], "fractions of the steps after which gamma scales the learning rate"] = ()
    gamma: Annotated[float, "what the learning rate is multiplied by at each milestone"] = 0.1
    backbone_multiplier: Annotated[float, "times the learning rate: that of the backbone"] = 1.0
    head_multiplier: Annotated[float, "times the learning rate: that of the decoder and what follows it"] = 10.0
    layer_decay: Annotated[float, "times the learning rate, at each layer from a backbone's output to its input"] = 1.0
    text_multiplier: Annotated[float, "times the learning rate: that of a text transformer, 0 freezes it"] = 0.0
    frozen: Annotated[str, 'a regular expression: parameters whose names match it stay, such as "backbone"'] = ""
    no_weight_decay: Annotated[str, "a regular expression: parameters whose names match it are not decayed"] = ""
    clip_norm: Annotated[float, "gradient clipping: to this global norm; 0 leaves it"] = 0.0
    ema: Annotated[float, "EMA: decay rate of the moving average of the weights; 0 keeps none"] = 0.0

    # For models that give logits of classes; other losses do not use these.
    ce_class_weight: Annotated[
        tuple[float, ...], "of logits: CrossEntropyLoss's class_weight, one number for each class; none for 1 each"
    ] = ()
    avg_non_ignore: Annotated[bool, "of logits: whether the mean leaves out the pixels that are ignored"] = False
    dice_loss_weight: Annotated[float, "of logits: times DiceLoss, added to the cross-entropy; 0 for none"] = 0.0
    ohem_min_kept: Annotated[int, "of logits: OHEMPixelSampler's min_kept, pixels a picture; 0 for all pixels"] = 0
    ohem_thresh: Annotated[float, "of logits: OHEMPixelSampler's thresh; 0 for the largest losses"] = 0.0

    # For models that give masks of queries; other losses do not use these.
    points: Annotated[int, "of queries' masks: points in a picture at which masks are compared"] = 12_544
    oversample: Annotated[float, "of queries' masks: how many times as many points are drawn to choose from"] = 3.0
    importance: Annotated[float, "of queries' masks: fraction of the points where a mask is least certain"] = 0.75
    class_weight: Annotated[float, "of queries: weight of the cross-entropy of their classes"] = 2.0
    mask_weight: Annotated[float, "of queries: weight of the binary cross-entropy of their masks"] = 5.0
    dice_weight: Annotated[float, "of queries: weight of the dice loss of their masks"] = 5.0
    no_object_weight: Annotated[float, 'of queries: weight of "no object" among the classes'] = 0.1
    max_targets: Annotated[
        int, "of queries: how many segments or classes of a picture are learned at most, the largest"
    ] = 100

    validate_every: Annotated[int, "steps between two validations"] = 16_000
    save_best: Annotated[
        str, "the figure by which the best checkpoint is chosen, such as IoU.road; the first by default"
    ] = ""
    keep_every: Annotated[int, "steps between two checkpoints"] = 1000
    keep: Annotated[int, "how many of the newest checkpoints stay, beside the best"] = 3
    seed: Annotated[int, "of the order of pictures, the augmentation, dropout and fresh weights"] = 0

    def __post_init__(self) -> None:
        """Raises ValueError for numbers out of range, unknown choices, and what the augmentation does not do."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}: {getattr(self, name)!r} is not")
        for names, low, high in _RANGES:
            for name in names:
                value = getattr(self, name)
                if not low <= value <= high or value == math.inf:
                    bounds = f"at least {low}" if high == math.inf else f"{low} to {high}"
                    raise ValueError(f"{name} must be {bounds}: {value} is not")
        if not 0 < self.scale_min <= self.scale_max:
            raise ValueError(f"scale_min must be above 0 and up to scale_max {self.scale_max}: {self.scale_min} is not")
        if self.augmentation != "mmseg" and (self.photometric or self.cat_max_ratio < 1):
            raise ValueError(
                f"photometric must be false and cat_max_ratio 1 for augmentation {self.augmentation}: it does neither"
            )
        if self.augmentation == "lang_seg" and (self.crop_width or self.scales):
            raise ValueError("crop_width and scales are not for augmentation lang_seg: it does neither")
        for name in ("frozen", "no_weight_decay"):
            try:
                re.compile(getattr(self, name))
            except re.error as error:
                raise ValueError(f"{name} is no regular expression: {getattr(self, name)!r}, {error}") from None
        if not all(0 <= weight < math.inf for weight in self.ce_class_weight):
            raise ValueError(f"ce_class_weight must be numbers from 0: {self.ce_class_weight} are not")
        if self.ohem_thresh and not self.ohem_min_kept:
            raise ValueError("ohem_thresh is of pixels that are hard: say ohem_min_kept, how many of them at least")
        if not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"scales must be above 0: {self.scales} are not")
        if not all(0 < a < b <= 1 for a, b in pairwise((*self.milestones, 1.0))):
            raise ValueError(f"milestones must be growing fractions of the run, 0 to 1: {self.milestones} are not")

    @property
    def crop(self) -> tuple[int, int]:
        """(height, width) of a crop."""
        return self.crop_size, self.crop_width or self.crop_size


_CHOICES = {
    "precision": get_args(Precision), "optimizer": get_args(Optimizer), "augmentation": get_args(Augmentation),
    "schedule": get_args(Schedule),
}  # fmt: skip
_RANGES = (  # names of fields, the smallest and the largest value; NaN is in none
    (("steps", "batch_size", "accumulate", "crop_size", "short_side", "long_side"), 1, math.inf),
    (("decay_every", "validate_every", "keep_every", "keep", "points", "oversample"), 1, math.inf),
    (("learning_rate", "backbone_multiplier", "head_multiplier", "text_multiplier", "weight_decay"), 0, math.inf),
    (("warmup_steps", "crop_width", "power", "gamma", "clip_norm", "seed"), 0, math.inf),
    (
        ("dice_loss_weight", "ohem_min_kept", "class_weight", "mask_weight", "dice_weight", "no_object_weight"),
        0,
        math.inf,
    ),
    (("importance",), 0, 1),
    (("max_targets",), 1, 255),
    (
        ("ohem_thresh", "cat_max_ratio", "flip", "momentum", "beta1", "beta2", "warmup_ratio", "ema", "layer_decay"),
        0,
        1,
    ),
)


def shortened(recipe: Recipe, given: Mapping[str, Any]) -> tuple[Recipe, dict[str, int]]:
    """A recipe with the numbers that a person gave, and those of it that follow from them.

    In fewer steps than the recipe's the warm-up is shorter in proportion, and there are ten validations or as many as
    the recipe has, unless they are given too: a warm-up of 1500 steps would be the whole of a run of 1000. Crops of
    another size are squares, unless their width is given too.
    """
    steps, follows = given.get("steps", recipe.steps), {}
    if steps < recipe.steps:
        follows["warmup_steps"] = round(recipe.warmup_steps * steps / recipe.steps)
        follows["validate_every"] = min(recipe.validate_every, max(steps // 10, _FEW_STEPS))
    if given.get("crop_size", recipe.crop_size) != recipe.crop_size:
        follows["crop_width"] = 0
    follows = {name: value for name, value in follows.items() if name not in given and value != getattr(recipe, name)}
    return replace(recipe, **follows, **given), follows


_FEW_STEPS = 20  # a validation after fewer costs more than they do


def steps_of(epochs: float, pictures: Sequence[int], batch_size: int) -> int:
    """The steps in which each picture is shown so many times, at least 1. Of several datasets, each step's batch is of
    one, and the last of an epoch is filled up with pictures of the next."""
    if len(pictures) == 1:
        return max(1, math.ceil(epochs * pictures[0] / batch_size))
    return max(1, math.ceil(epochs * sum(-(-count // batch_size) for count in pictures)))


def check_warmup(recipe: Recipe) -> None:
    """Raise ValueError for a warm-up that does not end: its learning rate would never be reached."""
    if recipe.warmup_steps > recipe.steps:
        raise ValueError(f"warmup_steps must be at most steps, {recipe.steps}: {recipe.warmup_steps} are more")


def without_effect(recipe: Recipe, output: str) -> dict[str, str]:
    """The numbers that change nothing in a run by this recipe, with the reason.

    output: what the network gives: "logits", "words" or "queries".
    """
    idle = dict.fromkeys(_OF_CHOICES["optimizer"].get(recipe.optimizer, ()), f"the optimizer is {recipe.optimizer}")
    idle |= dict.fromkeys(_OF_CHOICES["schedule"].get(recipe.schedule, ()), f"the schedule is {recipe.schedule}")
    if output != "queries":
        reason = "it is for models that give masks of queries, such as Mask2Former"
        idle |= dict.fromkeys(_OF_QUERIES, reason)
        idle["class_weight"] = f"{reason}, as the weight of one of their losses"
    if recipe.scales:
        reason = "one of --scales is chosen: pass --scales '' to draw between the two"
        idle |= dict.fromkeys(("scale_min", "scale_max"), reason)
    if output != "logits":
        idle |= dict.fromkeys(_OF_LOGITS, "it is for models that give logits of classes, such as SegFormer")
    if output != "words":
        idle["text_multiplier"] = "it is for models that take words, such as LSeg"
    if not recipe.warmup_steps:
        idle["warmup_ratio"] = "there are no warm-up steps"
    return idle


_OF_LOGITS = ("ce_class_weight", "avg_non_ignore", "dice_loss_weight", "ohem_min_kept", "ohem_thresh")
GROUPS = {  # what the numbers are about, by the first of each group
    "steps": "length, batch and precision",
    "augmentation": "pictures",
    "optimizer": "optimiser and learning rate",
    "ce_class_weight": "loss of models that give logits, such as SegFormer",
    "points": "loss of models that give masks of queries, such as Mask2Former",
    "validate_every": "validation and checkpoints",
}

_OF_QUERIES = (
    "points", "oversample", "importance", "class_weight", "mask_weight", "dice_weight", "no_object_weight",
    "max_targets",
)  # fmt: skip
_OF_CHOICES: dict[str, dict[str, tuple[str, ...]]] = {  # what each choice leaves unread
    "optimizer": {"adamw": ("momentum",), "adam": ("momentum",), "sgd": ("beta1", "beta2")},
    "schedule": {"poly": ("milestones", "gamma"), "step": ("power", "decay_every")},
}

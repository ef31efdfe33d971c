"""transformers' preprocessor_config.json, in its old and new spellings, and what it is to us.

Sources: transformers 4.57 SegformerImageProcessor and Mask2FormerImageProcessor, whose defaults hold for what a file
leaves out, and image_processing_utils.get_size_dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from convert import CheckpointError
from convert.reading.entry import shown
from ms_seg.data.numbering import IGNORED, MAX_CLASSES, from_one, from_record, from_zero
from ms_seg.presets import IMAGENET_MEAN, IMAGENET_STD, MAX_SIDE, RESAMPLES, Preprocessing

FILE = "preprocessor_config.json"
NESTED = ("processor_config.json", "image_processor")  # since transformers 5: the file, and where in it

_IMAGENET = {"image_mean": [mean / 255 for mean in IMAGENET_MEAN], "image_std": [std / 255 for std in IMAGENET_STD]}
_MAX_VALUE = 1e9  # of means and deviations
_REDUCE = ("do_reduce_labels", "reduce_labels")  # its present name and its former one
_MASKFORMER = "MaskFormerImageProcessor"
_FLAGS = ("do_resize", "do_rescale", "do_normalize")


@dataclass(frozen=True)
class ImageProcessor:
    """A processor's class, as far as it matters. type: its name. default: its size where a file has none. square: one
    number as a size is both sides, not the shorter one. divisor: both sides become multiples of it by default, 0 for as
    they are.
    """

    type: str
    default: Mapping[str, int]
    square: bool
    divisor: int


PROCESSORS = {
    "segformer": ImageProcessor("SegformerImageProcessor", {"height": 512, "width": 512}, square=True, divisor=0),
    "mask2former": ImageProcessor(
        "Mask2FormerImageProcessor", {"shortest_edge": 800, "longest_edge": 1333}, square=False, divisor=32
    ),
}


def read_image_processor(config: Mapping[str, Any], system: str) -> dict[str, Any]:
    """Fields of the preset that a model of this system has with this configuration: its preprocessing, and no window.

    Raises CheckpointError for a value that no such processor can have.
    """
    kind = PROCESSORS[system]
    for key in (*_FLAGS, *_REDUCE):
        if not isinstance(config.get(key, True), bool | None):
            raise _wrong(key, "true or false", config[key])
    fields = {"window": None, "logits_via_input": False, "query_rule": "transformers", **_values(config)}
    if _type(config, kind) == _MASKFORMER:
        fields["query_rule"] = "transformers_maskformer"
    if kind.divisor and config.get("pad_size") is not None:
        raise _wrong("pad_size", "null: pictures are padded to no size here", config["pad_size"])
    if config.get("do_resize") is False:
        return {**fields, "resize": "shrink", "short_side": MAX_SIDE, "long_side": MAX_SIDE, "pad_multiple": 1}
    return {**fields, **_resize(config, kind), "resample": _resample(config)}


def told_processor(config: Mapping[str, Any] | None, system: str) -> tuple[str, ...]:
    """What a person is to be told of a configuration, or of a folder without one (None): what is taken for granted, and
    what is not followed."""
    kind = PROCESSORS[system]
    if config is None:
        size = ", ".join(f"{key} {value}" for key, value in kind.default.items())
        return (f"there is no {FILE} beside the weights: pictures are prepared as by {kind.type} without one ({size})",)
    lines = []
    known = (kind.type, _MASKFORMER) if system == "mask2former" else (kind.type,)
    if (name := _type(config, kind)) not in known:
        lines.append(f"{FILE} is of {shown(name)}: what it does not say is taken as {kind.type} has it")
    if config.get("do_center_crop"):
        lines.append(f"{FILE} says do_center_crop=true: it is not followed, and pictures are segmented whole")
    return tuple(lines)


def _type(config: Mapping[str, Any], kind: ImageProcessor) -> str:
    """The class of a processor, by its present name or its former one, slow or fast."""
    name = str(config.get("image_processor_type") or config.get("feature_extractor_type") or kind.type)
    return name.removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")


def read_label_values(config: Mapping[str, Any], classes: int, ignore_index: int) -> dict[str, Any]:
    """The preset's field `label_values`, where the processor takes one from the values of label files, or ignores a
    value of its own; nothing where it does neither, for then nobody knows how they were numbered.

    ignore_index: the model's, for a configuration that does not say it. Raises CheckpointError for one that is none.
    """
    ignore_index = ignore_index if config.get("ignore_index") is None else config["ignore_index"]
    if type(ignore_index) is not int:
        raise _wrong("ignore_index", "the number of a class", ignore_index)
    if not 1 < classes <= MAX_CLASSES:
        return {}
    if any(config.get(key) for key in _REDUCE):
        return {"label_values": from_one(classes).record}
    if classes <= ignore_index < IGNORED:
        return {"label_values": from_zero(classes, [ignore_index]).record}
    return {}


def write_image_processor(
    rule: Preprocessing, system: str, label_values: Mapping[str, Any] | None
) -> tuple[dict[str, Any], list[str]]:
    """The configuration with which transformers prepares pictures as this rule does, or nearly so, and label files as
    they are numbered; and a line for each thing that it cannot do."""
    lines = []
    config: dict[str, Any] = {
        "image_processor_type": _MASKFORMER
        if rule.query_rule == "transformers_maskformer"
        else PROCESSORS[system].type,
        "do_resize": True,
        "resample": RESAMPLES.index(rule.resample),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [float(f"{mean / 255:.9g}") for mean in rule.mean],
        "image_std": [float(f"{std / 255:.9g}") for std in rule.std],
        "do_reduce_labels": label_values is not None and from_record(label_values).zero_is_ignored,
    }
    if PROCESSORS[system].divisor:
        config |= {"size_divisor": PROCESSORS[system].divisor, "ignore_index": 255}
    if rule.resize in ("squash", "stretch", "stretch_cv2"):
        width = rule.short_side if rule.resize == "squash" else rule.long_side
        config["size"] = {"height": rule.short_side, "width": width}
        if rule.resize == "stretch_cv2":
            lines.append("transformers resizes by Pillow, and here it is by OpenCV: nearly the same")
    elif rule.resize == "shrink" and min(rule.short_side, rule.long_side) == MAX_SIDE:
        config["do_resize"] = False
    elif PROCESSORS[system].divisor:
        config["size"] = {"shortest_edge": rule.short_side, "longest_edge": rule.long_side}
        config["size_divisor"] = rule.pad_multiple
        if rule.resize != "shortest_edge":
            lines.append(f"transformers resizes by Pillow and stretches to multiples; here it is {rule.resize}")
    else:
        config["size"] = {"height": rule.short_side, "width": rule.short_side}
        lines.append(f"transformers cannot keep the ratio of a picture, as {rule.resize} does: it squashes it")
    return config, lines


def _resize(config: Mapping[str, Any], kind: ImageProcessor) -> dict[str, Any]:
    divisor = config.get("size_divisor", kind.divisor) if kind.divisor else 1
    divisor = _side("size_divisor", divisor) if divisor else 1
    size = _size(config, kind)
    if set(size) == {"height", "width"}:
        height, width = (-(-_side("size", size[key]) // divisor) * divisor for key in ("height", "width"))
        if height == width:
            return {"resize": "squash", "short_side": height, "pad_multiple": 1}
        return {"resize": "stretch", "short_side": height, "long_side": width, "pad_multiple": 1}
    short = _side("size", size["shortest_edge"])
    long = _side("size", size.get("longest_edge", MAX_SIDE))
    if short > long:
        raise _wrong("size", "a shortest_edge of at most its longest_edge", size)
    return {"resize": "shortest_edge", "short_side": short, "long_side": long, "pad_multiple": divisor}


def _size(config: Mapping[str, Any], kind: ImageProcessor) -> dict[str, Any]:
    """The size as a table of height and width, or of shortest_edge and perhaps longest_edge."""
    size = config.get("size")
    if size is None:
        return dict(kind.default)
    if isinstance(size, list) and len(size) == 2:
        return {"height": size[0], "width": size[1]}
    if isinstance(size, int) and kind.square:
        return {"height": size, "width": size}
    if isinstance(size, int):
        return {"shortest_edge": size, "longest_edge": config.get("max_size", kind.default["longest_edge"])}
    if isinstance(size, dict) and set(size) in (
        {"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"}
    ):  # fmt: skip
        return size
    raise _wrong("size", "a number, two, or a table of height and width or of shortest_edge and longest_edge", size)


def _values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Mean and deviation of pixels of 0..255: (pixel * factor - mean) / std, both divided by the factor."""
    factor = 1.0 if config.get("do_rescale") is False else config.get("rescale_factor", 1 / 255)
    if type(factor) not in (int, float) or not 0 < factor <= 255:
        raise _wrong("rescale_factor", "a number above 0", factor)
    if config.get("do_normalize") is False:
        mean, std = [0.0] * 3, [1.0] * 3
    else:
        mean, std = (_channels(config, key, default) for key, default in _IMAGENET.items())
    if min(std) <= 0:
        raise _wrong("image_std", "above 0", std)
    return {key: tuple(_plain(v, factor) for v in values) for key, values in (("mean", mean), ("std", std))}


def _plain(value: float, factor: float) -> float:
    """A value of 0..1 as one of 0..255; of one written as 0.48500001430511475, which is 0.485 in float32, 123.675."""
    return float(f"{float(str(np.float32(value))) / factor:.9g}")


def _channels(config: Mapping[str, Any], key: str, default: list[float]) -> list[float]:
    values = config.get(key)
    values = default if values is None else [values] * 3 if type(values) in (int, float) else values
    if not isinstance(values, list) or len(values) != 3 or not all(_is_number(v) for v in values):
        raise _wrong(key, "three numbers, of red, green and blue", values)
    return values


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _MAX_VALUE  # NaN is not


def _resample(config: Mapping[str, Any]) -> str:
    number = config.get("resample")
    number = RESAMPLES.index("bilinear") if number is None else number
    if type(number) is not int or not 0 <= number < len(RESAMPLES):
        raise _wrong("resample", f"0 to {len(RESAMPLES) - 1}", number)
    return RESAMPLES[number]


def _side(key: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_SIDE:
        raise _wrong(key, f"of 1 to {MAX_SIDE} pixels", value)
    return value


def _wrong(key: str, wanted: str, found: Any) -> CheckpointError:
    text = shown(str(found))
    return CheckpointError(f"{FILE}: {key} must be {wanted}: it is {text}.")

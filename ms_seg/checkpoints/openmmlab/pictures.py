"""How a configuration of OpenMMLab has pictures prepared in its tests.

Sources: mmcv 1.7 and 2.1, mmsegmentation 0.30 and 1.2, mmdetection 2.28 and 3.3; EasyCV puts MM before the names of
their steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ms_seg.checkpoints.fields import Fields, brief
from ms_seg.data.numbering import MAX_CLASSES, from_one
from ms_seg.presets import MAX_SIDE, Window

# Where a configuration can have the steps of its tests.
_PLACES = (
    ("dataset", "val", "pipeline"), ("data", "test", "pipeline"), ("data", "val", "pipeline"),
    ("test_dataloader", "dataset", "pipeline"), ("val_dataloader", "dataset", "pipeline"), ("test_pipeline",),
)  # fmt: skip
_TRAINING = (
    ("dataset", "train", "pipeline"), ("data", "train", "pipeline"), ("train_dataloader", "dataset", "pipeline"),
    ("train_pipeline",),
)  # fmt: skip
_NO_CHANGE = ("Load", "RandomFlip", "ImageToTensor", "DefaultFormat", "Collect", "Pack", "ToTensor", "Transpose")
_ALIGNMENT = 32  # of what is called round_up


def read_pictures(config: Fields) -> tuple[dict[str, Any], list[str]]:
    """Fields of the preset, its preprocessing and window, and "blue_first" for a network that sees blue before red; and
    a line for each thing that is not done as it says. Raises CheckpointError for values that cannot be used.
    """
    fields: dict[str, Any] = {}
    lines: list[str] = []
    pipeline = next((found for place in _PLACES if isinstance(found := _at(config.values, place), list)), None)
    if pipeline is not None:
        _Steps(config, fields, lines).take(pipeline)
    model = config.inner("model")
    for place in _TRAINING:
        if isinstance(steps := _at(config.values, place), list) and any(_reduces(step) for step in steps):
            fields |= _counted_from_one(model)
    tables = [table.inner("data_preprocessor") for table in (config, model) if table.has("data_preprocessor")]
    for table in tables:
        _data_preprocessor(table, fields, lines)
    if pipeline is not None and not tables and any(type_of(step).startswith("Pack") for step in pipeline):
        lines.append(
            f"{config.title} has no data_preprocessor, in which mmengine normalises: ImageNet's values are taken"
        )
        fields = {key: value for key, value in fields.items() if key not in ("mean", "std", "blue_first")}
    if model.has("test_cfg"):
        _test_cfg(model.inner("test_cfg"), fields, lines)
    return fields, lines


def type_of(table: Any) -> str:
    """The class that a table is for, without the package in which it is; "" where it does not say it."""
    name = table.get("type") if isinstance(table, dict) else None
    return name.rpartition(".")[2] if isinstance(name, str) else ""


class _Steps:
    """Goes through the steps of a pipeline; what they say goes into fields and lines."""

    def __init__(self, config: Fields, fields: dict[str, Any], lines: list[str]):
        self._config, self._fields, self._lines = config, fields, lines

    def take(self, pipeline: list[Any]) -> None:
        """A pipeline without a Resize leaves pictures as they are, one without Normalize their values."""
        self._fields |= {
            "resize": "shrink", "short_side": MAX_SIDE, "long_side": MAX_SIDE, "pad_multiple": 1,
            "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "blue_first": True,
        }  # fmt: skip
        for step, scale in _flat(pipeline, None):
            kind = type_of(step).removeprefix("MM")
            known = {"Resize": self._resize, "AlignedResize": self._aligned, "ResizeToMultiple": self._multiple,
                     "Pad": self._pad, "Normalize": self._normalize}  # fmt: skip
            if kind in known:
                known[kind](Fields(self._config.title, step, f"{kind}."), scale)
            elif not kind.startswith(_NO_CHANGE):
                self._lines.append(f"{self._config.title}: its step {brief(kind)} of the tests is not followed")

    def _resize(self, step: Fields, scale: Any) -> None:
        scales = next((step.values[key] for key in ("img_scale", "scale") if key in step.values), scale)
        if isinstance(scales, list) and len(scales) == 1:
            (scales,) = scales
        sides = [scales, scales] if type(scales) is int else scales
        whole = isinstance(sides, list | tuple) and len(sides) == 2
        if not whole or not all(type(side) is int and 0 < side <= MAX_SIDE for side in sides):
            self._lines.append(f"{self._config.title}: pictures of the size {brief(scales)} in its tests cannot be had")
            return
        # mmcv 1 and 2 call the size by other names, and have other defaults.
        if step.values.get("keep_ratio", "scale" not in step.values):
            self._fields |= {"resize": "keep_ratio", "short_side": min(sides), "long_side": max(sides)}
        else:
            width, height = sides
            self._fields |= {"resize": "stretch_cv2", "short_side": height, "long_side": width}

    def _aligned(self, step: Fields, scale: Any) -> None:
        self._resize(step, scale)
        self._multiple(step, scale)

    def _multiple(self, step: Fields, _: Any) -> None:
        divisor = step.values.get("size_divisor", _ALIGNMENT)
        if divisor == _ALIGNMENT and self._fields["resize"] == "keep_ratio":
            self._fields["resize"] = "round_up"
        else:
            self._lines.append(f"{self._config.title}: sides are not taken up to multiples of {brief(divisor)}")

    def _pad(self, step: Fields, _: Any) -> None:
        _padding(step, "size_divisor", self._fields, self._lines)

    def _normalize(self, step: Fields, _: Any) -> None:
        _values(step, "to_rgb", True, self._fields)


def _data_preprocessor(table: Fields, fields: dict[str, Any], lines: list[str]) -> None:
    """mmengine's, which is a part of the model: it normalises, and pads."""
    if "mean" in table.values or "bgr_to_rgb" in table.values:
        _values(table, "bgr_to_rgb", False, fields)
    if "pad_size_divisor" in table.values:
        _padding(table, "pad_size_divisor", fields, lines)
    if table.has("test_cfg"):  # mmsegmentation pads in tests where this says so alone
        _padding(table.inner("test_cfg"), "size_divisor", fields, lines)


def _padding(table: Fields, key: str, fields: dict[str, Any], lines: list[str]) -> None:
    divisor = table.values.get(key)
    if divisor is not None:
        if type(divisor) is not int or not 1 <= divisor <= MAX_SIDE:
            raise table.error(key, f"{brief(divisor)}: it must be 1 to {MAX_SIDE}")
        fields["pad_multiple"] = divisor
    elif table.values.get("size") is not None:
        lines.append(f"{table.title}: pictures are not padded to {brief(table.values['size'])}, as it has its tests do")


def _values(table: Fields, key: str, default: bool, fields: dict[str, Any]) -> None:
    """Mean and deviation of red, green and blue, of pixels of 0..255. key: the field that says whether pictures, which
    are read as BGR, become RGB before."""
    to_rgb = table.values.get(key, default)
    if type(to_rgb) is not bool:
        raise table.error(key, f"{brief(to_rgb)}: it must be true or false")
    fields["blue_first"] = not to_rgb
    for name, neutral in (("mean", 0.0), ("std", 1.0)):
        values = table.values.get(name, [neutral] * 3)
        values = [neutral] * 3 if values is None else values
        known = isinstance(values, list | tuple) and len(values) == 3
        if not known or not all(type(v) in (int, float) and abs(v) < 1e9 for v in values):
            raise table.error(name, f"{brief(values)}: it must be three numbers, one for each colour")
        if name == "std" and min(values) <= 0:
            raise table.error(name, f"{brief(values)}: it must be above 0")
        fields[name] = tuple(map(float, values if to_rgb else values[::-1]))


def _test_cfg(table: Fields, fields: dict[str, Any], lines: list[str]) -> None:
    """Whether mmsegmentation's model is shown windows."""
    mode = table.values.get("mode")
    if mode == "whole":
        fields["window"] = None
    elif mode == "slide":
        (height, width), (down, across) = (_sides(table, key) for key in ("crop_size", "stride"))
        if down > height or across > width:
            raise table.error("stride", f"{[down, across]}: windows of {height} by {width} must not leave anything out")
        fields["window"] = Window(height, down, across=None if (height, down) == (width, across) else (width, across))


def _reduces(step: Any) -> bool:
    """Whether a step reads label files in which 0 is nothing and classes count from 1."""
    return isinstance(step, dict) and step.get("reduce_zero_label") is True


def _counted_from_one(model: Fields) -> dict[str, Any]:
    """The preset's field `label_values`, where the classes are counted at all."""
    head = model.inner("decode_head").values if model.has("decode_head") else {}
    classes = head.get("num_classes")
    if not isinstance(classes, int) or not 1 < classes <= MAX_CLASSES:
        return {}
    return {"label_values": from_one(classes).record}


def _sides(table: Fields, key: str) -> tuple[int, int]:
    """Two sides, down and across."""
    found = table.values.get(key)
    sides: Any = (found, found) if type(found) is int else found
    whole = isinstance(sides, list | tuple) and len(sides) == 2 and all(type(side) is int for side in sides)
    if not whole or not 1 <= min(sides) <= max(sides) <= MAX_SIDE:
        raise table.error(key, f"{brief(found)}: it must be two numbers of 1 to {MAX_SIDE} pixels")
    return sides[0], sides[1]


def _flat(pipeline: list[Any], scale: Any) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """The steps, those inside of others too, each with the size that the outer one gives."""
    for step in pipeline:
        if isinstance(step, dict):
            inner = step.get("transforms")
            if isinstance(inner, list) and scale is None:
                yield from _flat(inner, step.get("img_scale", ()))
            else:
                yield step, scale


def _at(values: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        values = values.get(key) if isinstance(values, dict) else None
    return values

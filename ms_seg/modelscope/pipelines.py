"""`pipeline`: a model and what is done with it, called as ModelScope's are."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ms_seg
from ms_seg.commands.device import set_up_device
from ms_seg.hub import choose_model, find_address
from ms_seg.inference import Segmenter
from ms_seg.inference.execution import Mode
from ms_seg.modelscope.constants import Tasks
from ms_seg.modelscope.msdatasets import MsDataset
from ms_seg.modelscope.pictures import Reading
from ms_seg.modelscope.results import panoptic_result, semantic_result, text_result
from ms_seg.presets import Preset
from ms_seg.systems import Model


@dataclass(frozen=True)
class Kind:
    """One of ModelScope's pipelines: how it reads pictures and what it makes of answers.

    answers: the task of ours. first_of_list: whether of a list the first result alone is given.
    """

    task: str
    answers: str
    reading: Reading
    result: Callable[[Any], dict[str, Any]]
    first_of_list: bool = False


# EasyCV's two, of SegFormer and of Mask2Former on a ResNet, then those of Swin and ViT-Adapter, then that of words.
_EASYCV = Reading(upright=False, arrays="rgb", images="swapped")
EASYCV_SEMANTIC = Kind(
    Tasks.image_segmentation, "semantic", _EASYCV, lambda answer: semantic_result(answer, np.int32), first_of_list=True
)
EASYCV_PANOPTIC = Kind(Tasks.image_segmentation, "panoptic", _EASYCV, panoptic_result, first_of_list=True)
PANOPTIC = Kind(
    Tasks.image_segmentation, "panoptic", Reading(upright=True, arrays="bgr", images="swapped"), panoptic_result
)
SEMANTIC = Kind(
    Tasks.image_segmentation, "semantic", Reading(upright=True, arrays="bgr", images="right"),
    lambda answer: semantic_result(answer, np.int64),
)  # fmt: skip
TEXT_DRIVEN = Kind(
    Tasks.text_driven_segmentation, "semantic", Reading(upright=True, arrays="bgr", images="right"), text_result
)


def kind_of(preset: Preset) -> Kind:
    """The pipeline that ModelScope runs such a model in."""
    if preset.output == "words":
        return TEXT_DRIVEN
    if preset.output == "logits":
        return EASYCV_SEMANTIC
    if preset.tasks[0] == "semantic":
        return SEMANTIC
    return EASYCV_PANOPTIC if preset.backbone[0] == "resnet" else PANOPTIC


def pipeline(
    task: str | None = None,
    model: str | os.PathLike[str] | Model | None = None,
    preprocessor: None = None,
    config_file: None = None,
    pipeline_name: str | None = None,
    framework: str | None = None,
    device: str | None = None,
    model_revision: str | None = None,
    ignore_file_pattern: Any = None,
    trust_remote_code: bool = False,
    *,
    vocab: str | os.PathLike[str] | None = None,
    mode: Mode = "graph",
) -> Pipeline:
    """A model to be called with pictures, as ModelScope's function of that name gives one.

    Args:
        task: one of `Tasks`, which must be the model's. model: its id on ModelScope, a folder, a file, any name that
            `ms_seg.create_model` takes, or what that gives.
        device: "cpu", "gpu" or "cuda:0"; None for MindSpore's. model_revision: a branch or tag on ModelScope.
        vocab, mode: as `Segmenter` takes them.
        preprocessor, config_file: must be None; they belong to the model. The other arguments change nothing here: a
            model's files are fetched as they are needed, and no code of theirs is run.

    Raises ValueError for a model that there is not or of another task, and as `ms_seg.create_model` and `Segmenter` do.
    """
    if preprocessor is not None or config_file is not None:
        raise ValueError("preprocessor and config_file must be left out: the model says how pictures are prepared")
    if model is None:
        raise ValueError("model must be named: ModelScope's model for this task is none of those that are known here")
    if device is not None:
        _use(device)
    network = model if isinstance(model, Model) else open_model(model, model_revision)
    kind = kind_of(network.preset)
    if task not in (None, kind.task):
        raise ValueError(f"{network.preset.name} is a model for {kind.task}, and {task} is asked for")
    return Pipeline(Segmenter(network, mode, vocab=vocab, task=kind.answers), kind)


class Pipeline:
    """What `pipeline` gives."""

    def __init__(self, segmenter: Segmenter, kind: Kind):
        self.segmenter, self._kind = segmenter, kind

    def __call__(self, input: Any) -> Any:
        """The result of a picture (of words, {"image": picture, "text": word}), or those of a list or dataset of them.

        A picture is a path, an address, an array or a Pillow image, and is read as ModelScope's pipeline of the model
        reads it, which of some is not as one would expect: see docs/modelscope.md.

        Returns a dictionary with the keys of `OutputKeys`: masks, labels, scores, and our confidences; of words masks
        and confidences alone. A list gives a list, or of some models its first result alone; a dataset a generator.

        Raises ValueError for what is no picture, and as `Segmenter` does.
        """
        if isinstance(input, MsDataset):
            return self._each(input)
        if not isinstance(input, list):
            return self._result(input)
        if not self._kind.first_of_list:
            return [self._result(item) for item in input]
        if not input:
            raise ValueError("the list of pictures is empty")
        if len(input) > 1:
            logging.getLogger("ms_seg").warning(
                "ModelScope's pipeline of this model gives the result of a list's first picture alone, and so does "
                "this one: call it once for each"
            )
        return self._result(input[0])

    def _each(self, dataset: MsDataset) -> Iterator[dict[str, Any]]:
        return (self._result(row) for row in dataset)

    def _result(self, item: Any) -> dict[str, Any]:
        labels = None
        if self._kind is TEXT_DRIVEN:
            if not isinstance(item, dict) or not isinstance(item.get("text"), str) or "image" not in item:
                raise ValueError('the input must be {"image": a picture, "text": a word}')
            item, labels = item["image"], [item["text"]]
        return self._kind.result(self.segmenter(self._kind.reading(item), labels))


def open_model(model: str | os.PathLike[str], revision: str | None = None) -> Model:
    """A model by its id on ModelScope, or by a file, a folder or any name that `ms_seg.create_model` takes."""
    name = checkpoint_of(model, revision)
    if Path(name).exists():
        return ms_seg.create_model("auto", name)
    return ms_seg.create_model(*choose_model(name, None))


def checkpoint_of(model: str | os.PathLike[str], revision: str | None = None) -> str:
    """What `ms_seg.create_model` is to take for a model: a name or a path; "owner/name" alone is ModelScope's."""
    name = os.fspath(model)
    if Path(name).exists() or name in ms_seg.list_models() or name.partition(":")[0] in ("hf", "ms", "https"):
        return name
    at = f"@{revision}" if revision else ""
    if find_address(f"ms:{name}{at}") is None:
        raise ValueError(f"there is no model {name}")
    return f"ms:{name}{at}"


def _use(device: str) -> None:
    """Run where ModelScope would; on a machine without a GPU it takes the CPU, too."""
    kind = device.partition(":")[0]
    if kind not in ("cpu", "gpu", "cuda"):
        raise ValueError(f"device must be cpu, gpu or cuda: {device!r} is not")
    try:
        set_up_device("CPU" if kind == "cpu" else "GPU")
    except ValueError as error:
        logging.getLogger("ms_seg").warning("%s: the CPU is used", error)

"""ModelScope's words for tasks, results and modes, those of them that segmentation uses."""

from __future__ import annotations

from enum import Enum


class Tasks:
    """What a pipeline does."""

    image_segmentation = "image-segmentation"
    text_driven_segmentation = "text-driven-segmentation"


class OutputKeys:
    """Keys of a result; CONFIDENCES is ours."""

    MASKS = "masks"
    LABELS = "labels"
    SCORES = "scores"
    CONFIDENCES = "confidences"


class Trainers:
    """Names for `build_trainer`."""

    easycv = "easycv"


class Hubs(Enum):
    """Where a dataset is published."""

    modelscope = "modelscope"
    huggingface = "huggingface"


class DownloadMode(Enum):
    """What to do with a dataset that is here already. Nothing is downloaded either way."""

    REUSE_DATASET_IF_EXISTS = "reuse_dataset_if_exists"
    FORCE_REDOWNLOAD = "force_redownload"

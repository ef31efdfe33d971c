"""What differs between models in training: a row for each kind, which nothing else in training has to tell apart."""

from __future__ import annotations

from typing import Any

from ms_seg.presets import Preset
from ms_seg.training.tasks.class_masks import SEMANTIC_QUERIES
from ms_seg.training.tasks.instance import INSTANCE_QUERIES
from ms_seg.training.tasks.panoptic import PANOPTIC_QUERIES
from ms_seg.training.tasks.row import TrainingTask
from ms_seg.training.tasks.semantic import SEMANTIC_LOGITS
from ms_seg.training.tasks.words import SEMANTIC_WORDS

__all__ = ["TRAINING_TASKS", "TrainingTask", "task_for", "training_task"]

TRAINING_TASKS = {  # by what a network gives, and the task of the datasets that it learns from
    ("logits", "semantic"): SEMANTIC_LOGITS,
    ("words", "semantic"): SEMANTIC_WORDS,
    ("queries", "panoptic"): PANOPTIC_QUERIES,
    ("queries", "instance"): INSTANCE_QUERIES,
    ("queries", "semantic"): SEMANTIC_QUERIES,
}
_TRUTH = {
    "semantic": "label_map",
    "panoptic": "panoptic",
    "instance": "things",
}  # the method of a dataset by which it gives it


def training_task(preset: Preset, task: str, dataset: str = "the dataset") -> TrainingTask:
    """How a model learns from a dataset for a task; its name is for the sentence that refuses it.

    Raises ValueError for a model that cannot be trained, or not for this task.
    """
    known = _tasks(preset)
    if task not in known:
        raise ValueError(f"{preset.name} learns {' or '.join(known)} segmentation, and {dataset} is for {task}")
    return TRAINING_TASKS[preset.output, task]


def task_for(preset: Preset, dataset: Any) -> str:
    """The first of the tasks that a model can be trained for of which a dataset has the truth.

    Raises ValueError if there is none.
    """
    known = _tasks(preset)
    for task in known:
        if hasattr(dataset, _TRUTH[task]):
            return task
    raise ValueError(f"{preset.name} learns {' or '.join(known)} segmentation, and the dataset has no truth of it")


def _tasks(preset: Preset) -> list[str]:
    """The tasks that a model can be trained for, in its order. Raises ValueError if there is none."""
    known = [task for task in preset.tasks if (preset.output, task) in TRAINING_TASKS]
    if not known:
        tasks = " or ".join(preset.tasks)
        raise ValueError(
            f"{preset.name} cannot be trained: no loss for {tasks} segmentation from {preset.output} is known"
        )
    return known

"""What differs between models in training: a row for each kind, which nothing else in training has to tell apart."""

from __future__ import annotations

from ms_seg.presets import Preset
from ms_seg.training.tasks.panoptic import PANOPTIC_QUERIES
from ms_seg.training.tasks.row import TrainingTask
from ms_seg.training.tasks.semantic import SEMANTIC_LOGITS
from ms_seg.training.tasks.words import SEMANTIC_WORDS

__all__ = ["TRAINING_TASKS", "TrainingTask", "training_task"]

TRAINING_TASKS = {  # by what a network gives, and the task of the datasets that it learns from
    ("logits", "semantic"): SEMANTIC_LOGITS,
    ("words", "semantic"): SEMANTIC_WORDS,
    ("queries", "panoptic"): PANOPTIC_QUERIES,
}


def training_task(preset: Preset) -> TrainingTask:
    """How a model learns: the first of its tasks; other answers that it has follow from it.

    Raises ValueError for a model that cannot be trained.
    """
    kind = (preset.output, preset.tasks[0])
    if kind not in TRAINING_TASKS:
        raise ValueError(f"{preset.name} cannot be trained: no loss for {kind[1]} segmentation from {kind[0]} is known")
    return TRAINING_TASKS[kind]

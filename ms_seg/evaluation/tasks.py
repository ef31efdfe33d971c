"""What differs between the tasks of an evaluation: a row for each, which nothing else has to tell apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ms_seg.evaluation.instance.predictions import ModelDetections, SavedDetections
from ms_seg.evaluation.instance.results import instance_results
from ms_seg.evaluation.instance.tally import InstanceTally
from ms_seg.evaluation.panoptic.predictions import ModelPanopticMaps, SavedPanopticMaps
from ms_seg.evaluation.panoptic.results import panoptic_results
from ms_seg.evaluation.panoptic.tally import PanopticTally
from ms_seg.evaluation.predictions import ModelPredictions, Predictions, Segment
from ms_seg.evaluation.results import Results
from ms_seg.evaluation.semantic.predictions import ModelLabelMaps, SavedLabelMaps
from ms_seg.evaluation.semantic.results import semantic_results
from ms_seg.evaluation.semantic.tally import SemanticTally
from ms_seg.evaluation.tally import Tally


@dataclass(frozen=True)
class Task:
    """One task.

    tally: dataset -> an empty tally.
    from_files: (the path of saved predictions, dataset, how many classes a prediction may name) -> predictions.
    from_model: (segment, dataset, a folder to write to or None) -> predictions; see `ModelPredictions`.
    results: (tally, dataset, predictions) -> the figures and drawings.
    """

    tally: Callable[[Any], Tally]
    from_files: Callable[[Path, Any, int], Predictions]
    from_model: Callable[[Segment, Any, Path | None], ModelPredictions]
    results: Callable[[Any, Any, Predictions], Results]


TASKS = {
    "semantic": Task(SemanticTally.of, SavedLabelMaps, ModelLabelMaps, semantic_results),
    "panoptic": Task(
        PanopticTally.of, lambda path, dataset, _: SavedPanopticMaps(path, dataset), ModelPanopticMaps, panoptic_results
    ),
    "instance": Task(
        InstanceTally.of, lambda path, dataset, _: SavedDetections(path, dataset), ModelDetections, instance_results
    ),
}

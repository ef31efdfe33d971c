"""What an evaluation counts, and where its predictions come from, for each task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ms_seg.evaluation.instance.predictions import ModelDetections, SavedDetections
from ms_seg.evaluation.instance.tally import DetectionTally
from ms_seg.evaluation.panoptic.predictions import PanopticModelPredictions, SavedPanoptic
from ms_seg.evaluation.panoptic.tally import PanopticTally
from ms_seg.evaluation.semantic.predictions import ModelPredictions, SavedPredictions
from ms_seg.evaluation.semantic.tally import SemanticTally
from ms_seg.evaluation.tally import Tally


@dataclass(frozen=True)
class Kind:
    """tally: a dataset -> an empty one. saved: the path of predictions, a dataset, and how many classes a prediction
    may name -> predictions. made: what segments a picture, a dataset, and a folder to write to, or None -> predictions.
    """

    tally: Callable[[Any], Tally]
    saved: Callable[..., Any]
    made: Callable[..., Any]


KINDS = {
    "semantic": Kind(
        lambda dataset: SemanticTally(len(dataset), len(dataset.label_set)), SavedPredictions, ModelPredictions
    ),
    "panoptic": Kind(
        lambda dataset: PanopticTally(len(dataset), dataset.label_set),
        lambda path, dataset, _outputs: SavedPanoptic(path, dataset),
        PanopticModelPredictions,
    ),
    "instance": Kind(
        lambda dataset: DetectionTally(len(dataset)),
        lambda path, dataset, _outputs: SavedDetections(path, dataset),
        ModelDetections,
    ),
}

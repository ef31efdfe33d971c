"""The validation of a run: a model scored on a dataset, with pictures of a few predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from ms_seg.answers.drawing.panels import joined
from ms_seg.data.readings import spread
from ms_seg.distributed import World
from ms_seg.evaluation.evaluator import evaluate
from ms_seg.evaluation.predictions import CachedPredictions, Segment
from ms_seg.evaluation.tasks import TASKS
from ms_seg.training.trainer import Scores, Validate

SHOWN = 4  # pictures that a run draws, spread over the validation split


def make_validation(
    segment: Segment,
    dataset: Any,
    world: World,
    task: str,
    metrics: Callable[[Any], Mapping[str, float]],
    monitor: str,
    draw: Callable[[Any, Any, int], Image.Image],
    classes: Callable[[Any], Mapping[str, float]] = lambda tally: {},
) -> Validate:
    """What scores a model on a dataset whenever it is called, each process on its share of the pictures.

    Args:
        segment: what answers the pictures, by the model that is trained.
        task: of the dataset, a row of `evaluation.tasks`.
        metrics: the tally of all pictures -> metrics by name. monitor: see `Scores`.
        draw: (dataset, predictions, index) -> a picture with its truth and its prediction beside it.
        classes: the tally of all pictures -> figures of single classes.
    """
    row = TASKS[task]
    predictions = row.from_model(segment, dataset, None)

    def validate() -> Scores:
        tally = evaluate(dataset, CachedPredictions(predictions), row.tally(dataset), world)
        if world.rank:
            return Scores(metrics(tally), monitor, classes=classes(tally))
        shown = [draw(dataset, predictions, index) for index in spread(range(len(dataset)), SHOWN)]
        table = row.results(tally, dataset, predictions).table
        return Scores(metrics(tally), monitor, joined(shown, axis=0), classes(tally), table)

    return validate

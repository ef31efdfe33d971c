"""The results of an evaluation of instances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ms_seg.data.instance import InstanceDataset
from ms_seg.evaluation.instance.average_precision import Detection, Precision
from ms_seg.evaluation.instance.tally import InstanceTally
from ms_seg.evaluation.predictions import Predictions
from ms_seg.evaluation.results import Results, number, table_of

_CLASS_COLUMNS = ("index", "class", "box_AP", "mask_AP", "things")


def instance_results(
    tally: InstanceTally, dataset: InstanceDataset, predictions: Predictions[Sequence[Detection]]
) -> Results:
    """AP of boxes and masks, and a row for each class; what the dataset's rule does not score is left out."""
    class_names = dataset.label_set.names
    kinds = tally.scored(dataset)
    nothing = Precision({}, np.full(len(class_names), np.nan))
    per_class = [kinds.get(kind, nothing).per_class.tolist() for kind in ("box", "mask")]
    labels = (thing.label for index in range(len(dataset)) for thing in dataset.things(index) if not thing.iscrowd)
    things = np.bincount(list(labels), minlength=len(class_names))
    rows = [
        dict(zip(_CLASS_COLUMNS, (index, name, number(box), number(mask), count), strict=True))
        for index, (name, box, mask, count) in enumerate(zip(class_names, *per_class, things.tolist(), strict=True))
    ]
    totals = {f"{kind} {name}": value for kind, scored in kinds.items() for name, value in scored.figures.items()}
    return Results(
        figures={kind: {k: number(v) for k, v in scored.figures.items()} for kind, scored in kinds.items()},
        class_columns=_CLASS_COLUMNS,
        classes=rows,
        table=table_of(
            ("class", "box", "mask"), [(row["class"], row["box_AP"], row["mask_AP"]) for row in rows], totals
        ),
    )

"""The results of an evaluation of instances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ms_seg.data.coco.instance import CocoInstance
from ms_seg.evaluation.instance.average_precision import Detection, Precision, average_precision
from ms_seg.evaluation.instance.tally import InstanceTally
from ms_seg.evaluation.predictions import Predictions
from ms_seg.evaluation.results import Results, number, table_of

_CLASS_COLUMNS = ("index", "class", "box_AP", "mask_AP", "things")


def instance_results(
    tally: InstanceTally, dataset: CocoInstance, predictions: Predictions[Sequence[Detection]]
) -> Results:
    """AP of boxes and masks, and a row for each class; without masks if some detections are boxes alone."""
    detections, class_names = tally.detections(), dataset.label_set.names
    masks = all(detection.mask for of_picture in detections for detection in of_picture)
    kinds = {kind: average_precision(dataset, detections, kind) for kind in (("box", "mask") if masks else ("box",))}
    nothing = Precision({}, np.full(len(class_names), np.nan))
    per_class = [kinds.get(kind, nothing).per_class.tolist() for kind in ("box", "mask")]
    things = np.bincount(
        [thing.label for things in dataset.things for thing in things if not thing.iscrowd], minlength=len(class_names)
    )
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

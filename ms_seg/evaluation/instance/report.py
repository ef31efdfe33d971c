"""What an evaluation of instances has to say."""

from __future__ import annotations

import numpy as np

from ms_seg.data.coco.instance import CocoInstance
from ms_seg.evaluation.instance.average_precision import Precision, average_precision
from ms_seg.evaluation.instance.predictions import Detections
from ms_seg.evaluation.instance.tally import DetectionTally
from ms_seg.evaluation.results import Findings, number, table_of

_CLASS_COLUMNS = ("index", "class", "box_AP", "mask_AP", "things")


def detection_findings(tally: DetectionTally, dataset: CocoInstance, predictions: Detections) -> Findings:
    """AP of boxes and masks, and the rows of the classes; that of masks is left out where only boxes were found."""
    found, names = tally.found(), dataset.label_set.names
    masks = all(detection.mask for detections in found for detection in detections)
    kinds = {kind: average_precision(dataset, found, kind) for kind in (("box", "mask") if masks else ("box",))}
    nothing = Precision({}, np.full(len(names), np.nan))
    per_class = [kinds.get(kind, nothing).per_class.tolist() for kind in ("box", "mask")]
    things = np.bincount(
        [thing.label for things in dataset.things for thing in things if not thing.iscrowd], minlength=len(names)
    )
    rows = [
        dict(zip(_CLASS_COLUMNS, (index, name, number(box), number(mask), count), strict=True))
        for index, (name, box, mask, count) in enumerate(zip(names, *per_class, things.tolist(), strict=True))
    ]
    totals = {f"{kind} {name}": value for kind, scored in kinds.items() for name, value in scored.figures.items()}
    return Findings(
        figures={kind: {k: number(v) for k, v in scored.figures.items()} for kind, scored in kinds.items()},
        class_columns=_CLASS_COLUMNS,
        classes=rows,
        table=table_of(
            ("class", "box", "mask"), [(row["class"], row["box_AP"], row["mask_AP"]) for row in rows], totals
        ),
    )

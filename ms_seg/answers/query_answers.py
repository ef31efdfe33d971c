"""The answer to a picture of a model that gives classes and masks of queries, for each task."""

from __future__ import annotations

import numpy as np

from ms_seg.answers.segments import InstanceAnswer, PanopticAnswer
from ms_seg.answers.semantic import Answer
from ms_seg.label_sets import labels_of, numbered_labels
from ms_seg.postprocessing.instance import instance_inference
from ms_seg.postprocessing.panoptic import panoptic_inference
from ms_seg.postprocessing.queries import Queries
from ms_seg.postprocessing.rules import RULES
from ms_seg.postprocessing.semantic import semantic_inference
from ms_seg.presets import Preset


def answer_queries(
    queries: Queries, task: str, preset: Preset, picture: np.ndarray, source: str | None = None
) -> PanopticAnswer | InstanceAnswer | Answer:
    """What the queries say of an RGB picture (H, W, 3) uint8, by the preset's rule. task: "panoptic", "instance" or
    "semantic"."""
    rule = RULES[preset.preprocessing.query_rule]
    known = labels_of(preset.label_set) or numbered_labels(queries.class_logits.shape[1] - 1)
    if task == "panoptic":
        return PanopticAnswer(
            picture, known, preset.name, source, panoptic=panoptic_inference(queries, known.isthing, rule)
        )
    if task == "instance":
        return InstanceAnswer(
            picture, known, preset.name, source, instances=instance_inference(queries, known.isthing, rule)
        )
    labels, scores = semantic_inference(queries, rule)
    return Answer(picture, labels, known, scores, preset.name, source)

"""A picture on its way into a network, and what the network said of it: outputs that answer a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ms_seg.answers import Answer, InstanceAnswer, PanopticAnswer
from ms_seg.answers.semantic import Embeddings
from ms_seg.data.preprocessing import Geometry, network_input
from ms_seg.label_sets import LabelSet
from ms_seg.postprocessing.instance import instance_inference
from ms_seg.postprocessing.logits import ClassMaps, Logits, label_by_mask, label_pixels
from ms_seg.postprocessing.panoptic import panoptic_inference
from ms_seg.postprocessing.queries import Queries
from ms_seg.postprocessing.rules import RULES
from ms_seg.postprocessing.semantic import label_scores, semantic_inference, semantic_scores
from ms_seg.presets import Preprocessing, Preset

AnyAnswer = Answer | PanopticAnswer | InstanceAnswer


@dataclass(frozen=True, eq=False)
class Input:
    """A picture on its way into a network.

    picture: RGB (H, W, 3) uint8. image: (3, h, w) float32, what the network sees of it. geometry: the sizes in between.
    source: the picture's file, if there is one.
    """

    picture: np.ndarray
    image: np.ndarray
    geometry: Geometry
    source: str | None = None

    @classmethod
    def of(
        cls,
        picture: np.ndarray,
        rule: Preprocessing,
        source: str | None = None,
        mirrored: bool = False,
        sizes: Sequence[tuple[int, int]] = (),
    ) -> Input:
        """The picture preprocessed; mirrored after resizing, as mmsegmentation does: padding stays right and below.

        sizes: see `network_input`.
        """
        (image,), geometry = network_input(picture, rule, sizes)
        if mirrored:
            height, width = geometry.resized
            image[:, :height, :width] = image[:, :height, :width][..., ::-1].copy()
        return cls(picture, image, geometry, source)


class Output(Protocol):
    """What a network said of one picture. label_set: the classes, or the words, that it told apart."""

    @property
    def label_set(self) -> LabelSet: ...

    def answer(self, task: str) -> AnyAnswer:
        """What it means: "semantic", "panoptic" or "instance", one of the preset's tasks."""

    def logits(self) -> ClassMaps:
        """A score of every class at every pixel, whose softmax can be averaged with that of other views."""


@dataclass(frozen=True, eq=False)
class LogitsOutput:
    """maps: of the classes of label_set. embeddings: of words and pixels, if they were compared."""

    maps: ClassMaps
    input: Input
    preset: Preset
    label_set: LabelSet
    embeddings: Embeddings | None = None

    def logits(self) -> ClassMaps:
        return self.maps

    def answer(self, task: str) -> Answer:
        label = label_by_mask if self.preset.preprocessing.resize_mask else label_pixels
        labels, scores = label(self.maps)
        return Answer(
            self.input.picture,
            labels,
            self.label_set,
            scores,
            self.preset.name,
            self.input.source,
            self.maps,
            self.embeddings,
        )


@dataclass(frozen=True, eq=False)
class QueriesOutput:
    """class_logits: (Q, C + 1) float32, the last being no object. mask_logits: (Q, h, w) float32."""

    class_logits: np.ndarray
    mask_logits: np.ndarray
    input: Input
    preset: Preset
    label_set: LabelSet

    def logits(self) -> Logits:
        return logits_of(semantic_scores(self.class_logits, self.mask_logits), self.input, self.preset)

    def answer(self, task: str) -> AnyAnswer:
        queries = Queries(self.class_logits, self.mask_logits, self.input.geometry)
        rule, known = RULES[self.preset.preprocessing.query_rule], self.label_set
        things = known.isthing
        picture, name, source = self.input.picture, self.preset.name, self.input.source
        if task == "panoptic":
            return PanopticAnswer(picture, known, name, source, panoptic=panoptic_inference(queries, things, rule))
        if task == "instance":
            return InstanceAnswer(picture, known, name, source, instances=instance_inference(queries, things, rule))
        labels, scores = semantic_inference(queries, rule)
        return Answer(picture, labels, known, scores, name, source)


@dataclass(frozen=True, eq=False)
class ScoresOutput:
    """maps: scores of the classes of label_set, of which queries were made already: of windows, since queries of two of
    them have nothing in common, or in an exported graph."""

    maps: ClassMaps
    input: Input
    preset: Preset
    label_set: LabelSet

    def logits(self) -> ClassMaps:
        return self.maps

    def answer(self, task: str) -> Answer:
        labels, scores = label_scores(self.maps)
        return Answer(self.input.picture, labels, self.label_set, scores, self.preset.name, self.input.source)


def logits_of(values: np.ndarray, seen: Input, preset: Preset) -> Logits:
    rule = preset.preprocessing
    return Logits(values, seen.geometry, rule.logits_via_input, rule.align_corners)

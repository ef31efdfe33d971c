"""Phrases as the classes of the drawn world: "red circle", "striped square".

Some pairs of words are kept from training, so that a model that knows "red star" and "blue circle" can be asked for a
"red circle": for each colour and each pattern a few shapes, each of which is seen in other colours and patterns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ms_seg.data.drawn.scenes import COLOURS, PATTERNS, SHAPES_LABELS, STUFF, THINGS, Scene
from ms_seg.data.numbering import IGNORED
from ms_seg.label_sets import LabelSet, numbered_labels

# For each kind of phrase: its words, and the (step, cycle) of the pairs that are kept from training, those of word i
# and shape j for which i + step * j is a multiple of the cycle.
_KINDS = {"colour": (tuple(COLOURS), 2, 5), "pattern": (PATTERNS, 1, 4)}


@dataclass(frozen=True)
class Phrases:
    """One kind of phrase, "colour" or "pattern", as the classes of a split.

    seen_only: only the pairs that training may see. Shapes of other pairs are ignored, and their phrases no classes.
    """

    kind: str
    seen_only: bool

    @cached_property
    def label_set(self) -> LabelSet:
        """The phrases and the grounds."""
        words, *_ = _KINDS[self.kind]
        pairs = [(word, shape) for word in words for shape in THINGS]
        names = [f"{word} {shape}" for word, shape in pairs if not (self.seen_only and is_unseen(word, shape))]
        names += STUFF
        return LabelSet(tuple(names), numbered_labels(len(names)).palette)

    def label_map(self, scene: Scene) -> np.ndarray:
        """(H, W) uint8, the index of each pixel's class; 255 on shapes whose phrase is no class."""
        names = self.label_set.names
        of_ground = [names.index(name) if name in STUFF else IGNORED for name in SHAPES_LABELS.names]
        phrases = [f"{getattr(instance, self.kind)} {instance.label}" for instance in scene.instances]
        of_shape = [0, *(names.index(phrase) if phrase in names else IGNORED for phrase in phrases)]
        ground = np.array(of_ground, np.uint8)[scene.label_map]
        return np.where(scene.instance_map > 0, np.array(of_shape, np.uint8)[scene.instance_map], ground)


def is_unseen(word: str, shape: str) -> bool:
    """Whether a colour or pattern and a shape are never seen together in training. Raises ValueError for others."""
    for words, step, cycle in _KINDS.values():
        if word in words and shape in THINGS:
            return (words.index(word) + step * THINGS.index(shape)) % cycle == 0
    raise ValueError(f"{word!r} and {shape!r} are no phrase of the drawn world")


def unseen_phrases(kind: str) -> list[str]:
    """The phrases of a kind that are kept from training."""
    words, *_ = _KINDS[kind]
    return [f"{word} {shape}" for word in words for shape in THINGS if is_unseen(word, shape)]

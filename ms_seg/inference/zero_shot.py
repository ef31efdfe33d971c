"""One named thing a picture, told from all others: what the few-shot benchmarks ask a model that takes words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from mindspore import nn

from ms_seg.inference.segmenter import Segmenter
from ms_seg.inference.words import OTHERS

if TYPE_CHECKING:
    from ms_seg.evaluation.few_shot import Find


def find_things(
    model: nn.Cell, names: Sequence[str], mode: str = "graph", vocab: str | os.PathLike[str] | None = None
) -> Find:
    """How a model finds a thing of each of the classes `names` in a picture.

    A model that squashes its pictures answers as in lang-seg's test_lseg_zs.py, at the size of its input; any other one
    as `Segmenter` does, at the picture's own.

    Args:
        model: a Cell of `create_model`. mode, vocab: as `Segmenter` takes them.

    Returns: a function from a picture, RGB (H, W, 3) uint8, and the class to be found, an index into `names`, to a map
        (h, w), True where the thing is. It raises what a `Segmenter` does.

    Raises ValueError for a model that takes no words, and when there is no vocabulary.
    """
    if not model.preset.takes_words:
        raise ValueError(f"{model.preset.name} takes no words: choose a model that does, as lseg_*")
    segmenter = Segmenter(model, mode, vocab=vocab)
    at_input_size = model.preset.preprocessing.resize == "squash"

    def find(picture: np.ndarray, label: int) -> np.ndarray:
        words = (OTHERS, names[label])
        if not at_input_size:
            return segmenter(picture, words).label_map == 1
        (others, thing), _ = segmenter.predict(picture, words=words)
        return thing > others

    return find

"""One named thing a picture, told from all others: what the few-shot benchmarks ask a model that takes words."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from ms_seg.inference.execution import Mode
from ms_seg.inference.segmenter import Segmenter
from ms_seg.inference.words import OTHERS
from ms_seg.systems import Model


def find_things(
    model: Model, names: Sequence[str], mode: Mode = "graph", vocab: str | os.PathLike[str] | None = None
) -> Callable[[np.ndarray, int], np.ndarray]:
    """How a model finds a thing of each of the classes `names` in a picture.

    A model that squashes its pictures answers as in lang-seg's test_lseg_zs.py, at the size of its input; any other one
    as `Segmenter` does, at the picture's own.

    Args:
        model: what `create_model` gives. mode, vocab: as `Segmenter` takes them.

    Returns: a function from a picture, RGB (H, W, 3) uint8, and the class to be found, an index into `names`, to a map
        (h, w), True where the thing is. It raises what a `Segmenter` does.

    Raises ValueError for a model that takes no words, and when there is no vocabulary.
    """
    segmenter = Segmenter(model, mode, vocab=vocab)
    segmenter.check_labels((OTHERS, names[0]))
    at_input_size = model.preset.preprocessing.resize == "squash"

    def find(picture: np.ndarray, label: int) -> np.ndarray:
        words = (OTHERS, names[label])
        if not at_input_size:
            return segmenter(picture, words).label_map == 1
        others, thing = segmenter.predict(picture, words).logits().values
        return thing > others

    return find

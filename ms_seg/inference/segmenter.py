"""A model and a picture: the answer at the picture's own size."""

from __future__ import annotations

import os

import numpy as np
from mindspore import Tensor, nn

from ms_seg.data.labels import LabelSet, numbered_labels, read_labels
from ms_seg.inference.answer import Answer
from ms_seg.inference.execution import runner
from ms_seg.inference.picture import Picture, read_picture
from ms_seg.inference.postprocessing import label_pixels
from ms_seg.inference.preprocessing import Geometry, network_input


class Segmenter:
    """Segments pictures with a semantic model, as the preset of the model says: resizing, normalisation and labels.

    Args:
        model: a Cell of `create_model`: images (1, 3, H, W) -> logits (1, C, h, w), with its `preset`.
        mode: "graph" (compiled) or "pynative", see `execution.runner`.
    """

    def __init__(self, model: nn.Cell, mode: str = "graph"):
        self.preset = model.preset
        self._run = runner(model, mode)

    def __call__(self, picture: Picture) -> Answer:
        """Segment a path, an RGB array (H, W, 3) uint8 or a Pillow image.

        Raises ValueError for a picture that cannot be read (see `read_picture`) or is too large for the model, and when
        the network's output is not finite; RuntimeError when MindSpore cannot run the network.
        """
        pixels = read_picture(picture)
        source = os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else None
        try:
            logits, geometry = self.predict(pixels)
        except (ValueError, RuntimeError) as error:
            raise type(error)(f"{source or 'the picture'}: {error}") from error
        labels, scores = label_pixels(logits, geometry, self.preset.preprocessing.logits_via_input)
        return Answer(pixels, labels, self._labels(len(logits)), scores, self.preset.name, source)

    def predict(self, pixels: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """The network alone: RGB (H, W, 3) uint8 -> its logits (C, h, w) float32, and the sizes they went through.

        Raises as a call does.
        """
        images, geometry = network_input(pixels, self.preset.preprocessing)
        try:
            logits = self._run(Tensor(images)).asnumpy()[0]
        except Exception as error:  # MindSpore's are of any type, and pages long
            size, reason = "{}x{}".format(*geometry.padded), str(error).strip().split("\n")[0]
            raise RuntimeError(f"{self.preset.name} could not be run on an input of {size}: {reason}") from error
        if not np.isfinite(logits).all():
            raise ValueError(f"{self.preset.name} gave values that are not finite: is its checkpoint damaged?")
        return logits, geometry

    def _labels(self, num_outputs: int) -> LabelSet:
        name = self.preset.label_set
        return numbered_labels(num_outputs) if name is None else read_labels(name)

"""A model and a picture: the answer at the picture's own size."""

from __future__ import annotations

import os

import numpy as np
from mindspore import Tensor, nn

from ms_seg.data.labels import labels_of, numbered_labels
from ms_seg.data.picture import Picture, read_picture
from ms_seg.inference.answer import Answer
from ms_seg.inference.execution import runner
from ms_seg.inference.postprocessing import label_pixels
from ms_seg.inference.preprocessing import Geometry, network_input
from ms_seg.inference.sliding_window import Window, slide
from ms_seg.inference.test_time import View, label_views


class Segmenter:
    """Segments pictures with a semantic model, as the preset of the model says: resizing, normalisation and labels.

    Args:
        model: a Cell of `create_model`: images (1, 3, H, W) -> logits (1, C, h, w), with its `preset`.
        mode: "graph" (compiled) or "pynative", see `execution.runner`.
        window: show the network the input in such windows, instead of at once.
        augment: average over several scales and mirror images of the picture, see `test_time`.
    """

    def __init__(self, model: nn.Cell, mode: str = "graph", window: Window | None = None, augment: bool = False):
        self.preset, self.window, self.augment = model.preset, window, augment
        self._network = runner(model, mode)

    def __call__(self, picture: Picture) -> Answer:
        """Segment a path, an RGB array (H, W, 3) uint8 or a Pillow image.

        Raises ValueError for a picture that cannot be read (see `read_picture`) or is too large for the model, and when
        the network's output is not finite; RuntimeError when MindSpore cannot run the network.
        """
        pixels = read_picture(picture)
        source = os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else None
        try:
            labels, scores = self._label(pixels)
        except (ValueError, RuntimeError) as error:
            raise type(error)(f"{source or 'the picture'}: {error}") from error
        label_set = labels_of(self.preset.label_set) or numbered_labels(len(scores))
        return Answer(pixels, labels, label_set, scores, self.preset.name, source)

    def predict(self, pixels: np.ndarray, view: View | None = None) -> tuple[np.ndarray, Geometry]:
        """The network alone: RGB (H, W, 3) uint8 -> its logits (C, h, w) float32, and the sizes they went through.

        A window gives logits as large as the network's input. The view is the preset's unless another is asked for.
        Raises as a call does.
        """
        view = view or View(self.preset.preprocessing)
        images, geometry = network_input(pixels, view.rule)
        if view.mirrored:  # after resizing, as mmsegmentation does; the padding stays right and below
            height, width = geometry.resized
            images[..., :height, :width] = images[..., :height, :width][..., ::-1].copy()
        logits = slide(self._run, images, self.window) if self.window else self._run(images)
        return logits, geometry

    def _label(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rule = self.preset.preprocessing
        if self.augment:
            return label_views(pixels.shape[:2], rule, lambda view: self.predict(pixels, view))
        logits, geometry = self.predict(pixels)
        return label_pixels(logits, geometry, rule.logits_via_input)

    def _run(self, images: np.ndarray) -> np.ndarray:
        """Images (1, 3, h, w) float32 -> what the network gives, (C, h', w') float32."""
        try:
            logits = self._network(Tensor(images)).asnumpy()[0]
        except Exception as error:  # MindSpore's are of any type, and pages long
            size, reason = "{}x{}".format(*images.shape[2:]), str(error).strip().split("\n")[0]
            raise RuntimeError(f"{self.preset.name} could not be run on an input of {size}: {reason}") from error
        if not np.isfinite(logits).all():
            raise ValueError(f"{self.preset.name} gave values that are not finite: is its checkpoint damaged?")
        return logits

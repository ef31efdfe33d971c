"""The places at which a run's masks are compared and learned: random, and the same whenever they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ms_seg.presets.recipe import Recipe

_POINTS = 3  # what randomness is for: beside the order of pictures, their augmentation and what is dropped
_MATCHING, _CANDIDATES, _OTHERS = range(3)


class PointDraws:
    """Uniform points (x, y) from 0 to 1, float32, which follow from the run's seed, a sample's position in the run, and
    the number of the prediction alone."""

    def __init__(self, recipe: Recipe):
        """recipe: of a mask's `points`, that many are to be chosen as `uncertain` out of that many `candidates`."""
        self.seed, self.points = recipe.seed, recipe.points
        self.candidates = int(recipe.points * recipe.oversample)
        self.uncertain = int(recipe.points * recipe.importance)

    def for_matching(self, positions: Sequence[int], prediction: int) -> np.ndarray:
        """Where all masks of a sample are compared: (samples, points, 2)."""
        drawn = np.empty((len(positions), self.points, 2), np.float32)
        for position, place in zip(positions, drawn, strict=True):
            self._draw(place, position, prediction, _MATCHING)
        return drawn

    def for_learning(
        self, positions: Sequence[int], counts: Sequence[int], most: int, prediction: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points of counts[i] masks of the i-th sample, and zeros for others, up to `most`.

        Returns: what is chosen from, (samples * most, candidates, 2), and what is taken as it is, (samples * most,
            points - uncertain, 2).
        """
        candidates = np.zeros((len(positions), most, self.candidates, 2), np.float32)
        others = np.zeros((len(positions), most, self.points - self.uncertain, 2), np.float32)
        for i, (position, count) in enumerate(zip(positions, counts, strict=True)):
            self._draw(candidates[i, :count], position, prediction, _CANDIDATES)
            self._draw(others[i, :count], position, prediction, _OTHERS)
        masks = len(positions) * most
        return candidates.reshape(masks, self.candidates, 2), others.reshape(masks, self.points - self.uncertain, 2)

    def _draw(self, out: np.ndarray, position: int, prediction: int, purpose: int) -> None:
        key = (_POINTS, position, prediction, purpose)
        np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key)).random(dtype=np.float32, out=out)

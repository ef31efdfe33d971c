"""How far two outputs are apart."""

from __future__ import annotations

import numpy as np

STAGE_LIMIT = 1e-5  # relative Frobenius error: a block's limit, to which whole networks are held too
LABELS_LIMIT = 1e-4  # share of pixels with another label


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """||ours - theirs|| / ||theirs||, Frobenius; a feature map and the tokens of the same values compare equal."""
    if ours.ndim == 4 and theirs.ndim == 3:
        theirs = theirs.transpose(0, 2, 1).reshape(ours.shape)
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))

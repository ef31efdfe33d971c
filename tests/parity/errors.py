"""How far two outputs are apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mindspore import Parameter, Tensor

STAGE_LIMIT = 1e-5  # relative Frobenius error: a block's limit, to which whole networks are held too
# Queries look where masks are above zero: of a pixel that rounding takes across, one layer after the other hears.
MASKED_LIMIT = 1e-4
LABELS_LIMIT = 1e-4  # share of pixels with another label


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """||ours - theirs|| / ||theirs||, Frobenius; a feature map and the tokens of the same values compare equal."""
    if ours.ndim == 4 and theirs.ndim == 3:
        theirs = theirs.transpose(0, 2, 1).reshape(ours.shape)
    if ours.ndim == 3 and theirs.ndim == 4:
        theirs = theirs.reshape(*theirs.shape[:2], -1).transpose(0, 2, 1)
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def check_gradients(
    parameters: Sequence[Parameter], gradients: Sequence[Tensor], theirs: dict[str, np.ndarray]
) -> None:
    """Assert that the gradients of our parameters are those of the reference, by our names, to 1e-4.

    A bias that batch norm or softmax takes out again moves nothing: its gradient is rounding on both sides, and has
    only to be small. There may be few of them.
    """
    typical = np.median([np.linalg.norm(theirs[parameter.name]) for parameter in parameters])
    compared = 0
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if np.linalg.norm(theirs[parameter.name]) < 1e-5 * typical:
            assert np.linalg.norm(gradient.asnumpy()) < 1e-4 * typical, parameter.name
        else:
            compared += 1
            assert relative_error(gradient.asnumpy(), theirs[parameter.name]) <= 1e-4, parameter.name
    assert compared > 0.9 * len(parameters)

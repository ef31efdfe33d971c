"""What a training leaves beside a model in its checkpoint, which no model needs, and why."""

from __future__ import annotations

import re

# Patterns of whole names, after the model's prefix or before it.
_BESIDE = (
    (r"n_averaged", "how many models PyTorch has averaged"),
    (r"(criterion|loss|losses|loss_fn|loss_func|loss_\w+)\..+|.+\.loss_\w+\.\w*weight", "of a loss"),
    (
        r"((train|val|valid|test)_?)?(metrics?|iou|miou|acc|accuracy|confmat|confusion_matrix)(\.|_).+",
        "counts of a metric",
    ),
    (r"(train|val|valid|test)_\w+\.(confmat|tp|fp|tn|fn|total|correct|sum_value|weight|value)", "counts of a metric"),
    (r"ema_.+", "an average of the model that was kept beside it: --weights ema takes it"),
    (r"auxiliary_head\..+", "the auxiliary head, which only training uses"),
    (r"data_preprocessor\..+|pixel_(mean|std)|(image_|img_)?(mean|std)", "how pictures were normalised"),
)
_EXPRESSIONS = [(re.compile(pattern), reason) for pattern, reason in _BESIDE]


def reason_to_drop(name: str) -> str:
    """Why a tensor of this name is not a model's; empty for one that may be."""
    return next((reason for expression, reason in _EXPRESSIONS if expression.fullmatch(name)), "")

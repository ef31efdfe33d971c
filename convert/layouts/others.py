"""Models that are met in place of ours, by names that only they have: each is refused by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from convert.reading import CheckpointError

_OTHERS = (
    (
        r"(.+\.)?(lora_[A-Za-z_]+|lora_(down|up))\..+|(.+\.)?lora_[AB]",
        "holds LoRA adapters that were not merged into their model: merge them (merge_and_unload in peft), save the "
        "result, and load that",
    ),
    (
        r".+\.(qweight|qzeros|scales|SCB|weight_format|absmax|quant_map|quant_state\..+|_packed_params.*|zero_point)"
        r"|.+\.weight\.(absmax|quant_map|nested_.+|quant_state\..+)",
        "is quantised: save the model in float32 or float16 first",
    ),
    (
        r"(.+\.)?(text_mapper|task_encoder|task_mlp)\..+",
        "is a OneFormer, which is asked with a text: of its kind only Mask2Former can be loaded here",
    ),
    (
        r"(.+\.)?(transformer_module\.decoder\.layers\.\d+\.encoder_attn\..+|pixel_level_module\.decoder\.fpn\..+)"
        r"|(.+\.)?sem_seg_head\.predictor\.transformer\.decoder\.layers\.\d+\.multihead_attn\..+",
        "is a MaskFormer, the network before Mask2Former, whose decoders are others: it cannot be loaded here",
    ),
    (r"(.+\.)?track_head\..+", "follows objects through a video (Mask2Former-VIS): it cannot be loaded here"),
)
_EXPRESSIONS = [(re.compile(pattern), problem) for pattern, problem in _OTHERS]


def refuse_others(names: Iterable[str]) -> None:
    """Raise CheckpointError, which says what it is, for a model that some of these names give away."""
    names = list(names)
    for expression, problem in _EXPRESSIONS:
        name = next((name for name in names if expression.fullmatch(name)), None)
        if name is not None:
            raise CheckpointError(f"the file {problem} (it has {name})")

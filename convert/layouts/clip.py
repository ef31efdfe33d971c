"""CLIP's text tower, which LSeg takes its words from, in OpenAI's layout and in transformers'."""

from __future__ import annotations

from convert.layouts.row import Layout, Operation, Row, affine, blocks, drop, layer_norm

TEXT_BLOCK = "text.blocks.{i}"

IMAGE_TOWER_DROPPED = "CLIP's image tower: pixels have a backbone of their own"
LOGIT_SCALE_DROPPED = "CLIP's temperature: words and pixels are compared with LSeg's own"
SIZE_DROPPED = "a size, which the shapes of the tensors tell"

TRANSPOSED = Operation("transpose", lambda arrays: [arrays[0].T], lambda arrays: [arrays[0].T])


def clip_text(prefix: str) -> tuple[Row, ...]:
    """Rows for a whole CLIP in OpenAI's names after this prefix: its text tower is carried, the rest dropped."""
    block = f"{prefix}transformer.resblocks.{{i}}"
    return (
        Row((f"{prefix}token_embedding.weight",), ("text.token_embedding",)),
        Row((f"{prefix}positional_embedding",), ("text.pos_embed",)),
        *layer_norm(f"{block}.ln_1", f"{TEXT_BLOCK}.norm1"),
        *(
            Row((f"{block}.attn.in_proj_{leaf}",), (f"{TEXT_BLOCK}.attn.qkv.{leaf}",))  # of nn.MultiheadAttention
            for leaf in ("weight", "bias")
        ),
        *affine(f"{block}.attn.out_proj", f"{TEXT_BLOCK}.attn.proj"),
        *layer_norm(f"{block}.ln_2", f"{TEXT_BLOCK}.norm2"),
        *affine(f"{block}.mlp.c_fc", f"{TEXT_BLOCK}.mlp.fc1"),
        *affine(f"{block}.mlp.c_proj", f"{TEXT_BLOCK}.mlp.fc2"),
        *layer_norm(f"{prefix}ln_final", "text.norm"),
        Row((f"{prefix}text_projection",), ("text.proj",)),
        drop(f"{prefix}visual.{{name}}", IMAGE_TOWER_DROPPED),
        drop(f"{prefix}logit_scale", LOGIT_SCALE_DROPPED),
        *(drop(f"{prefix}{size}", SIZE_DROPPED) for size in ("input_resolution", "context_length", "vocab_size")),
    )


def _transformers_text() -> tuple[Row, ...]:
    embeddings, layer = "text_model.embeddings", "text_model.encoder.layers.{i}"
    return (
        Row((f"{embeddings}.token_embedding.weight",), ("text.token_embedding",)),
        Row((f"{embeddings}.position_embedding.weight",), ("text.pos_embed",)),
        *layer_norm(f"{layer}.layer_norm1", f"{TEXT_BLOCK}.norm1"),
        *(
            Row(
                tuple(f"{layer}.self_attn.{part}_proj.{leaf}" for part in "qkv"),
                (f"{TEXT_BLOCK}.attn.qkv.{leaf}",),
                blocks(1, 1, 1),
            )
            for leaf in ("weight", "bias")
        ),
        *affine(f"{layer}.self_attn.out_proj", f"{TEXT_BLOCK}.attn.proj"),
        *layer_norm(f"{layer}.layer_norm2", f"{TEXT_BLOCK}.norm2"),
        *affine(f"{layer}.mlp.fc1", f"{TEXT_BLOCK}.mlp.fc1"),
        *affine(f"{layer}.mlp.fc2", f"{TEXT_BLOCK}.mlp.fc2"),
        *layer_norm("text_model.final_layer_norm", "text.norm"),
        Row(("text_projection.weight",), ("text.proj",), TRANSPOSED),
        drop(f"{embeddings}.position_ids", "the numbers 0 to 76 that older files of transformers hold"),
        drop("vision_model.{name}", IMAGE_TOWER_DROPPED),
        drop("visual_projection.weight", IMAGE_TOWER_DROPPED),
        drop("logit_scale", LOGIT_SCALE_DROPPED),
    )


LAYOUTS = (
    Layout(name="openai-text", system="lseg", title="OpenAI's CLIP", rows=clip_text(""), covers="text."),
    Layout(name="hf-text", system="lseg", title="transformers' CLIP", rows=_transformers_text(), covers="text."),
)

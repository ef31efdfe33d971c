"""CLIP's text tower, which LSeg reads words with, in the layouts of OpenAI and transformers."""

from __future__ import annotations

from convert.layouts.row import Layout
from convert.layouts.table import read_table

TABLE = read_table("""
    kind       ours             openai                  transformers

    under ours          text.

    parameter  proj             text_projection         text_projection.weight (transposed)
    dropped    -                visual.{name}           vision_model.{name}
    dropped    -                -                       visual_projection.weight
    because CLIP's image tower: pixels have a backbone of their own
    dropped    -                logit_scale             logit_scale
    because CLIP's temperature: words and pixels are compared with LSeg's own
    dropped    -                input_resolution        -
    dropped    -                context_length          -
    dropped    -                vocab_size              -
    because a size, which the shapes of the tensors tell

    under ours          text.
    under transformers  text_model.

    parameter  token_embedding  token_embedding.weight  embeddings.token_embedding.weight
    parameter  pos_embed        positional_embedding    embeddings.position_embedding.weight
    norm       norm             ln_final                final_layer_norm
    dropped    -                -                       embeddings.position_ids
    because the numbers 0 to 76 that older files of transformers hold

    under ours          text.blocks.{i}.
    under openai        transformer.resblocks.{i}.
    under transformers  text_model.encoder.layers.{i}.

    norm       norm1            ln_1                    layer_norm1
    packed     attn.qkv         attn.in_proj_           self_attn.{q,k,v}_proj
    affine     attn.proj        attn.out_proj           self_attn.out_proj
    norm       norm2            ln_2                    layer_norm2
    affine     mlp.fc1          mlp.c_fc                mlp.fc1
    affine     mlp.fc2          mlp.c_proj              mlp.fc2
""")

LAYOUTS = (
    Layout(name="openai-text", system="lseg", title="OpenAI's CLIP", rows=TABLE.rows("openai"), covers="text."),
    Layout(name="hf-text", system="lseg", title="transformers' CLIP", rows=TABLE.rows("transformers"), covers="text."),
    Layout(name="native-text", system="lseg", title="ms_seg's own text tower", rows=TABLE.own, covers="text."),
)

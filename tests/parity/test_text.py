"""CLIP's text transformer against OpenAI's own and transformers', with weights that came through the converter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import clip_original
import mindspore as ms
import numpy as np
import pytest
import references
import torch
from errors import STAGE_LIMIT, relative_error
from mindspore import Tensor, nn

from convert import open_checkpoint
from convert.recognition import recognise
from ms_seg.inference.execution import Runner
from ms_seg.text.transformer import TextTransformer

SIZES = {"width": 64, "heads": 4, "layers": 2, "embed_dim": 48, "vocabulary": 600}
GRADIENT_LIMIT = 1e-4


def tokens(*lengths: int, seed: int = 0) -> np.ndarray:
    """A row of 77 for each length: that many words between the marks."""
    draw, rows = np.random.default_rng(seed), np.zeros((len(lengths), 77), np.int32)
    for row, length in zip(rows, lengths, strict=True):
        row[: length + 2] = [598, *draw.integers(0, 598, length), 599]
    return rows


TOKENS = tokens(0, 3, 20, 75, 9)
TOKENS[4, 4] = 599  # an end mark that was written in the text: the first of two is the one that counts


@pytest.fixture(scope="module")
def original() -> torch.nn.Module:
    return references.draw_weights(clip_original.network(**SIZES), seed=0)


def filled(path: Path, layout: str) -> TextTransformer:
    """Our transformer with the tensors of a file; every key of it and every parameter accounted for."""
    text = TextTransformer(**SIZES)
    parameters = {f"text.{parameter.name}": parameter for parameter in text.get_parameters()}
    with open_checkpoint(path) as entries:
        source = recognise(entries)
        assert source.layout.name == layout
        plan = source.plan({name: tuple(parameter.shape) for name, parameter in parameters.items()})
        assert plan.complete, plan.explain()
        for name, entry in plan.apply(entries).items():
            parameters[name].set_data(Tensor(entry.numpy()))
    return text


@pytest.fixture(scope="module")
def ours(original: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> TextTransformer:
    path = references.save_checkpoint(original, tmp_path_factory.mktemp("clip") / "clip.pt")
    return filled(path, "openai-text")


def theirs(model: torch.nn.Module, rows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.encode_text(torch.from_numpy(rows)).numpy()


@pytest.mark.parametrize("mode", ["graph", "pynative"])
def test_features_are_the_originals(ours: TextTransformer, original: torch.nn.Module, mode: str):
    given = Runner(ours, mode)(Tensor(TOKENS))[0].asnumpy()
    assert relative_error(given, theirs(original, TOKENS)) <= STAGE_LIMIT


def test_every_stage_is_the_originals(ours: TextTransformer, original: torch.nn.Module):
    kept: dict[str, list[np.ndarray]] = {}

    def keep(name: str, convert: Callable) -> Callable:
        return lambda _module, _inputs, output: kept.setdefault(name, []).append(convert(output))

    handles = []
    for i in range(SIZES["layers"]):
        # The original has the texts on the second axis.
        their_block = original.transformer.resblocks[i]
        handles.append(their_block.register_forward_hook(keep(f"block {i}", lambda o: o.numpy().transpose(1, 0, 2))))
        handles.append(ours.blocks[i].register_forward_hook(keep(f"block {i}", lambda o: o.asnumpy())))
    theirs(original, TOKENS)
    Runner(ours, "pynative")(Tensor(TOKENS))
    for handle in handles:
        handle.remove()
    assert len(kept) == SIZES["layers"]
    for name, (their_output, our_output) in kept.items():
        assert relative_error(our_output, their_output) <= STAGE_LIMIT, name


def test_our_float32_error_is_no_larger_than_twice_pytorchs(ours: TextTransformer, original: torch.nn.Module):
    exact = clip_original.network(**SIZES).double()
    exact.load_state_dict(original.state_dict())
    for module in exact.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.__class__ = torch.nn.LayerNorm  # the original's own computes in float32 whatever it is given
    truth = theirs(exact, TOKENS)
    our_error = relative_error(Runner(ours)(Tensor(TOKENS))[0].asnumpy(), truth)
    assert our_error <= 2 * relative_error(theirs(original, TOKENS), truth)


def test_texts_without_their_padding_get_the_originals_features(ours: TextTransformer, original: torch.nn.Module):
    short = TOKENS[[0, 1, 2], :22]
    assert relative_error(Runner(ours)(Tensor(short))[0].asnumpy(), theirs(original, TOKENS[:3])) <= STAGE_LIMIT


class Weighed(nn.Cell):
    """A number that every feature has a part in."""

    def __init__(self, text: TextTransformer, weights: np.ndarray):
        super().__init__(auto_prefix=False)
        self.text, self.weights = text, Tensor(weights)

    def construct(self, rows: Tensor) -> Tensor:
        return (self.text(rows) * self.weights).sum()


def test_every_parameters_gradient_is_the_originals(ours: TextTransformer, original: torch.nn.Module, tmp_path: Path):
    weights = np.random.default_rng(3).standard_normal((len(TOKENS), SIZES["embed_dim"])).astype(np.float32)
    (original.encode_text(torch.from_numpy(TOKENS)) * torch.from_numpy(weights)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in original.named_parameters() if parameter.grad is not None}
    torch.save(gradients, tmp_path / "gradients.pt")  # named and packed as the weights are: the converter knows them
    expected = filled(tmp_path / "gradients.pt", "openai-text")
    original.zero_grad()

    ours.set_train()
    given = ms.grad(Weighed(ours, weights), None, ours.trainable_params())(Tensor(TOKENS))
    ours.set_train(False)
    for parameter, gradient, their_gradient in zip(
        ours.trainable_params(), given, expected.trainable_params(), strict=True
    ):
        error = relative_error(gradient.asnumpy(), their_gradient.asnumpy())
        if parameter.name.endswith("attn.qkv.bias"):  # a key's bias moves every score of a row alike: only noise there
            width = SIZES["width"]
            parts = np.r_[0:width, 2 * width : 3 * width]
            error = relative_error(gradient.asnumpy()[parts], their_gradient.asnumpy()[parts])
        assert error <= GRADIENT_LIMIT, parameter.name


# ---------------------------------------------------------------------------------------------------------------- files


class Published(torch.nn.Module):
    """The network as OpenAI's archives hold it: most of it in half precision, with three sizes beside the weights."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        for name, module in network.named_children():
            self.add_module(name, module.half() if name in ("visual", "transformer") else module)
        for name in ("positional_embedding", "text_projection", "logit_scale"):
            self.register_parameter(name, getattr(network, name))
        for name, size in (("input_resolution", 32), ("context_length", 77), ("vocab_size", SIZES["vocabulary"])):
            self.register_buffer(name, torch.tensor(size))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows * self.logit_scale


def test_openais_archive_fills_the_transformer(tmp_path: Path):
    network = references.draw_weights(clip_original.network(**SIZES), seed=4)
    torch.jit.trace(Published(network), torch.ones(2)).save(str(tmp_path / "ViT-B-32.pt"))
    with open_checkpoint(tmp_path / "ViT-B-32.pt") as entries:
        assert {entry.dtype for entry in entries.values()} == {"float16", "float32", "int64"}
    text = filled(tmp_path / "ViT-B-32.pt", "openai-text")
    expected = theirs(network.float(), TOKENS)
    assert relative_error(Runner(text)(Tensor(TOKENS))[0].asnumpy(), expected) <= STAGE_LIMIT


@pytest.mark.parametrize("whole", [True, False], ids=["both towers", "text alone"])
def test_transformers_clip_fills_the_transformer(whole: bool, tmp_path: Path):
    from transformers import CLIPConfig, CLIPModel, CLIPTextModelWithProjection

    sizes = {
        "vocab_size": SIZES["vocabulary"],
        "hidden_size": SIZES["width"],
        "intermediate_size": 4 * SIZES["width"],
        "num_hidden_layers": SIZES["layers"],
        "num_attention_heads": SIZES["heads"],
        "projection_dim": SIZES["embed_dim"],
        "eos_token_id": 599,
    }
    image = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(text_config=sizes, vision_config=image, projection_dim=SIZES["embed_dim"])
    model = CLIPModel(config) if whole else CLIPTextModelWithProjection(config.text_config)
    references.draw_weights(model, seed=5).eval().save_pretrained(tmp_path)
    with torch.no_grad():
        rows = torch.from_numpy(TOKENS)
        expected = model.get_text_features(rows) if whole else model(rows).text_embeds
    text = filled(tmp_path / "model.safetensors", "hf-text")
    assert relative_error(Runner(text)(Tensor(TOKENS))[0].asnumpy(), expected.numpy()) <= STAGE_LIMIT

"""Pictures by windows through ViT-Adapter against modelscope's segmentor beside it, from resizing to the label map."""

from __future__ import annotations

import numpy as np
import pytest
import references
import torch
import vit_adapter_reference
from errors import LABELS_LIMIT, STAGE_LIMIT, relative_error

import ms_seg
from ms_seg import Segmenter
from ms_seg.presets import Window, find_preset

NAME = "vit_adapter_beit_l_cocostuff164k"
SIZES = {"num_classes": 11, "queries": 9, "width": 64, "decoder_heads": 4, "pixel_layers": 1, "pixel_hidden": 48}
SIZES |= {"query_layers": 1, "query_hidden": 80, "channels": 48, "depth": 4, "heads": 3, "grid": 6, "deform_heads": 4}
SIZES |= {"prior_width": 8, "short_side": 140, "long_side": 224, "window": Window(96, 80, exact=True)}


@pytest.fixture(scope="module")
def theirs() -> vit_adapter_reference.Reference:
    return references.build_reference(find_preset(NAME).override(**SIZES), seed=1)


@pytest.fixture(scope="module")
def segmenter(theirs: vit_adapter_reference.Reference, tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    checkpoint = references.save_checkpoint(theirs, tmp_path_factory.mktemp("weights") / "theirs.pth")
    return Segmenter(ms_seg.create_model(NAME, checkpoint, **SIZES))


@pytest.mark.parametrize(
    ("size", "seen"),
    [((31, 75), (96, 224)), ((313, 199), (224, 160))],
    ids=["wider than a window, enlarged", "wider and higher, reduced"],
)
def test_a_pictures_scores_and_labels_are_modelscopes(
    theirs: vit_adapter_reference.Reference, segmenter: Segmenter, size: tuple[int, int], seen: tuple[int, int]
):
    picture = np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)
    images = vit_adapter_reference.network_input(picture, segmenter.preset.preprocessing)
    assert images.shape[2:] == seen
    segmentor = vit_adapter_reference.build_segmentor(theirs, segmenter.window, SIZES["num_classes"])
    meta = [{"ori_shape": (*size, 3), "flip": False}]
    with torch.no_grad():
        scores = segmentor.slide_inference(images, meta, rescale=True)
        segmentor.slide_inference = lambda *_: scores  # once is enough
        (labels,) = segmentor.simple_test(images, meta)
    expected = scores[0].numpy()

    output = segmenter.predict(picture)
    bands = [band.copy() for _, band in output.logits().bands()]
    assert relative_error(np.concatenate(bands).transpose(2, 0, 1), expected) <= STAGE_LIMIT
    answer = output.answer("semantic")
    assert len(np.unique(labels)) > 1
    assert np.mean(answer.label_map != labels) <= LABELS_LIMIT

    shares = expected.max(axis=0) / expected.sum(axis=0)
    assert answer.scores == pytest.approx([shares[labels == index].mean() for index in answer.classes], abs=1e-3)

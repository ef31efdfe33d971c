"""Panoptic, instance and semantic answers against mmdetection's, detectron2's and transformers', on the same logits."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import detectron2_rule
import numpy as np
import pytest
import references
import torch
import torch.nn.functional as F

from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing.instance import Instances, instance_inference
from ms_seg.postprocessing.panoptic import Panoptic, panoptic_inference
from ms_seg.postprocessing.queries import Queries
from ms_seg.postprocessing.rules import RULES
from ms_seg.postprocessing.semantic import semantic_inference

THINGS = [True] * 8 + [False] * 5
QUERIES = 40
GEOMETRIES = [
    Geometry((180, 240), (200, 267), (224, 288)),
    Geometry((301, 211), (165, 116), (192, 128)),
    Geometry((150, 200), (160, 224), (160, 224)),
    Geometry((333, 250), (160, 128), (160, 128)),
]
UNPADDED = [geometry for geometry in GEOMETRIES if geometry.padded == geometry.resized]


def drawn_queries(geometry: Geometry, seed: int, sure: float = 14.0) -> Queries:
    """Discs with rough edges that overlap: things that hide others, stuff in parts, sure queries and doubtful ones."""
    rng = np.random.default_rng(seed)
    height, width = (side // 4 for side in geometry.padded)
    y, x = np.mgrid[:height, :width]
    centres = rng.uniform(0, (height, width), (QUERIES, 2))[..., None, None]
    radii = rng.uniform(0.04, 0.22, QUERIES)[:, None, None] * min(height, width)
    distance = np.hypot(y - centres[:, 0], x - centres[:, 1])
    masks = np.clip(6 * (1 - distance / radii), -12, 5) + rng.standard_normal((QUERIES, height, width))
    classes = rng.standard_normal((QUERIES, len(THINGS) + 1))
    classes[:, -1] += 8  # most say nothing
    spoken = rng.random(QUERIES) < 0.35
    classes[spoken, rng.integers(0, len(THINGS), spoken.sum())] += rng.uniform(7, sure, spoken.sum())
    return Queries(classes.astype(np.float32), masks.astype(np.float32), geometry)


def cases(geometries: list[Geometry], number: int = 2) -> Iterator:
    for geometry in geometries:
        for seed in range(number):
            yield pytest.param(drawn_queries(geometry, seed), id=f"{geometry.picture[0]}x{geometry.picture[1]}-{seed}")


def tensors(queries: Queries) -> tuple[torch.Tensor, torch.Tensor]:
    """Class logits, and mask logits of the padded input as the networks' heads give them."""
    masks = torch.from_numpy(queries.mask_logits)[None]
    resized = F.interpolate(masks, size=queries.geometry.padded, mode="bilinear", align_corners=False)
    return torch.from_numpy(queries.class_logits), resized[0]


def at_picture(queries: Queries) -> tuple[torch.Tensor, torch.Tensor]:
    classes, masks = tensors(queries)
    height, width = queries.geometry.resized
    cut = masks[:, None, :height, :width]
    return classes, F.interpolate(cut, size=queries.geometry.picture, mode="bilinear", align_corners=False)[:, 0]


def mmsegmentations_classes(queries: Queries) -> np.ndarray:
    """What mmsegmentation 1.2 (Mask2FormerHead.predict, EncoderDecoder.postprocess_result) computes, and the original
    of models for semantic segmentation alone; both need packages with compiled parts."""
    classes, masks = tensors(queries)
    height, width = queries.geometry.resized
    scores = torch.einsum("qc,qhw->chw", classes.softmax(-1)[:, :-1], masks.sigmoid())[None, :, :height, :width]
    resized = F.interpolate(scores, size=queries.geometry.picture, mode="bilinear", align_corners=False)
    return resized[0].argmax(0).numpy()


@pytest.fixture(scope="module")
def mmdet_head():
    references.import_mmdet()
    import mmcv
    from mmdet.models.builder import build_head

    # Of mask2former_r50_lsj_8x2_50e_coco-panoptic.py
    test = mmcv.ConfigDict(panoptic_on=True, instance_on=True, max_per_image=100, iou_thr=0.8, filter_low_score=True)
    head = dict(type="MaskFormerFusionHead", num_things_classes=8, num_stuff_classes=5, test_cfg=test)
    return build_head(mmcv.ConfigDict(head))


@pytest.fixture(scope="module")
def mmdet(mmdet_head):
    def answer(queries: Queries) -> dict:
        classes, masks = tensors(queries)
        sizes = {"img_shape": (*queries.geometry.resized, 3), "ori_shape": (*queries.geometry.picture, 3)}
        return mmdet_head.simple_test(classes[None], masks[None], [sizes], rescale=True)[0]

    return answer


@pytest.fixture(scope="module")
def transformers():
    from transformers import Mask2FormerImageProcessor

    processor = Mask2FormerImageProcessor(ignore_index=255)

    def answer(queries: Queries, task: str, **options):
        outputs = SimpleNamespace(
            class_queries_logits=torch.from_numpy(queries.class_logits)[None],
            masks_queries_logits=torch.from_numpy(queries.mask_logits)[None],
        )
        process = getattr(processor, f"post_process_{task}_segmentation")
        return process(outputs, target_sizes=[queries.geometry.picture], **options)[0]

    return answer


def in_mmdets_ids(answer: Panoptic) -> np.ndarray:
    ids = [len(THINGS), *(segment.label + 1000 * segment.instance for segment in answer.segments)]
    return np.array(ids)[answer.segment_map]


@pytest.mark.parametrize("queries", cases(GEOMETRIES))
def test_panoptic_maps_equal_mmdetections(queries, mmdet):
    theirs = mmdet(queries)["pan_results"].numpy()
    ours = panoptic_inference(queries, THINGS, RULES["mmdet"])
    assert len(ours.segments) >= 2
    assert np.array_equal(in_mmdets_ids(ours), theirs)


@pytest.mark.parametrize("queries", cases(GEOMETRIES))
def test_panoptic_maps_and_segments_equal_detectron2s(queries):
    ids, segments = detectron2_rule.panoptic(*at_picture(queries), THINGS)
    ours = panoptic_inference(queries, THINGS, RULES["detectron2"])
    assert np.array_equal(ours.segment_map, ids.numpy())
    assert [segment.label for segment in ours.segments] == [segment["category_id"] for segment in segments]


@pytest.mark.parametrize("queries", cases(UNPADDED))
def test_panoptic_maps_and_scores_equal_transformers(queries, transformers):
    theirs = transformers(queries, "panoptic")
    ours = panoptic_inference(queries, THINGS, RULES["transformers"])
    assert np.array_equal(ours.segment_map, theirs["segmentation"].numpy())
    assert [segment.label for segment in ours.segments] == [info["label_id"] for info in theirs["segments_info"]]
    scores = [info["score"] for info in theirs["segments_info"]]
    assert [segment.score for segment in ours.segments] == pytest.approx(scores, abs=1e-6)


def test_a_picture_in_which_nothing_is_sure_is_void_to_all(mmdet, transformers):
    queries = drawn_queries(GEOMETRIES[2], seed=0)
    queries.class_logits[:, -1] += 30
    assert np.all(mmdet(queries)["pan_results"].numpy() == len(THINGS))
    assert np.all(transformers(queries, "panoptic")["segmentation"].numpy() == -1)
    for rule in RULES.values():
        answer = panoptic_inference(queries, THINGS, rule)
        assert answer.segments == ()
        assert not answer.segment_map.any()


def halves(scores: list[float], labels: list[int]) -> Queries:
    """Query 0 is nowhere, query 1 on the left and query 2 on the right half of 20x20 pixels; none is resized."""
    masks = np.full((3, 20, 20), -9, np.float32)
    masks[1, :, :10] = masks[2, :, 10:] = 5
    classes = np.full((3, len(THINGS) + 1), -20.0, np.float32)
    classes[np.arange(3), labels] = np.log(scores)
    classes[:, -1] = np.log(1 - np.array(scores))
    return Queries(classes, masks, Geometry((20, 20), (20, 20), (20, 20)))


def test_a_thing_without_a_pixel_takes_a_number_in_mmdetection_alone(mmdet_head):
    queries = halves([0.99, 0.9, 0.9], [0, 1, 2])
    queries.mask_logits[:2, 0, 0] = -0.1, -9  # which query 0 wins, but its own mask is not there
    queries.mask_logits[:2, 9, 4] = 0.1, 2  # where its own mask is, query 1 wins
    classes, masks = tensors(queries)
    ours = panoptic_inference(queries, THINGS, RULES["mmdet"])
    assert np.array_equal(in_mmdets_ids(ours), mmdet_head.panoptic_postprocess(classes, masks).numpy())
    assert [segment.instance for segment in ours.segments] == [2, 3]
    ours = panoptic_inference(queries, THINGS, RULES["detectron2"])
    assert np.array_equal(ours.segment_map, detectron2_rule.panoptic(classes, masks, THINGS)[0].numpy())
    assert [segment.instance for segment in ours.segments] == [1, 2]


def test_four_fifths_of_a_mask_are_enough(mmdet_head):
    queries = halves([0.9, 0.95, 0.95], [3, 1, 2])
    queries.mask_logits[0, 5, 5:10] = 4.9  # its own mask, of which query 1 has
    queries.mask_logits[1, 5, 6:10] = -9  # one pixel in five
    for segments in (3, 2):
        classes, masks = tensors(queries)
        ours = panoptic_inference(queries, THINGS, RULES["mmdet"])
        assert len(ours.segments) == segments
        assert np.array_equal(in_mmdets_ids(ours), mmdet_head.panoptic_postprocess(classes, masks).numpy())
        queries.mask_logits[1, 5, 6] = 5  # and now two


def as_set(found: Iterator[tuple[int, float, np.ndarray]]) -> dict[tuple[int, bytes], float]:
    return {(int(label), mask.tobytes()): float(score) for label, score, mask in found if mask.any()}


def assert_same_instances(ours: Instances, theirs: dict[tuple[int, bytes], float]) -> None:
    mine = as_set((ours.labels[i], ours.scores[i], ours.mask(i)) for i in range(len(ours)))
    assert len(mine) == len(ours) > 0
    assert mine.keys() == theirs.keys()
    assert [mine[key] for key in theirs] == pytest.approx(list(theirs.values()), rel=1e-5)
    assert np.all(np.diff(ours.scores) <= 0)
    assert all(ours.areas[i] == ours.mask(i).sum() for i in range(len(ours)))


@pytest.mark.parametrize("queries", cases(GEOMETRIES, 1))
def test_instances_equal_mmdetections_and_detectron2s(queries, mmdet):
    labels, boxes, masks = mmdet(queries)["ins_results"]
    theirs = as_set(zip(labels, boxes[:, 4], masks.numpy(), strict=True))
    assert_same_instances(instance_inference(queries, THINGS, RULES["mmdet"]), theirs)
    theirs = as_set(detectron2_rule.instances(*at_picture(queries), THINGS))
    assert_same_instances(instance_inference(queries, THINGS, RULES["detectron2"]), theirs)


@pytest.mark.parametrize("queries", cases(UNPADDED, 1))
def test_instances_equal_transformers(queries, transformers):
    theirs = transformers(queries, "instance", return_binary_maps=True)
    infos = theirs["segments_info"]
    masks = theirs["segmentation"].numpy().astype(bool)
    found = ((info["label_id"], info["score"], mask) for info, mask in zip(infos, masks, strict=True))
    assert_same_instances(instance_inference(queries, THINGS, RULES["transformers"]), as_set(found))


@pytest.mark.parametrize("queries", cases(GEOMETRIES, 1))
def test_classes_of_pixels_equal_pytorchs(queries):
    theirs = detectron2_rule.semantic(*at_picture(queries)).numpy()
    for rule in ("mmdet", "detectron2"):
        labels, _ = semantic_inference(queries, RULES[rule])
        assert np.mean(labels != theirs) <= 1e-5


@pytest.mark.parametrize("queries", cases(GEOMETRIES, 1))
def test_classes_of_pixels_that_were_scored_at_the_input_equal_mmsegmentations(queries):
    theirs = mmsegmentations_classes(queries)
    labels, _ = semantic_inference(queries, RULES["mmseg"])
    assert np.mean(labels != theirs) <= 1e-5
    others, _ = semantic_inference(queries, RULES["mmdet"])
    assert np.mean(others != theirs) > 1e-4  # resizing masks gives others along the borders


@pytest.mark.parametrize("queries", cases(UNPADDED, 1))
def test_classes_of_pixels_equal_transformers(queries, transformers):
    theirs = transformers(queries, "semantic").numpy()
    labels, _ = semantic_inference(queries, RULES["transformers"])
    assert np.mean(labels != theirs) <= 1e-5

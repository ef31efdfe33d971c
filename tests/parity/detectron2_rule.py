"""What facebookresearch/Mask2Former makes of queries, stated in PyTorch; detectron2, which it needs, is not on PyPI."""

from __future__ import annotations

import torch

SCORE_THRESHOLD = OVERLAP_THRESHOLD = 0.8  # the COCO configurations' OBJECT_MASK_THRESHOLD and OVERLAP_THRESHOLD
DETECTIONS = 100


def panoptic(class_logits: torch.Tensor, masks: torch.Tensor, things: list[bool]) -> tuple[torch.Tensor, list[dict]]:
    """Class logits (Q, C + 1) and mask logits (Q, H, W) of the picture's size -> ids (H, W), and what each id is."""
    score, label = class_logits.softmax(-1).max(-1)
    confident = (label < len(things)) & (score > SCORE_THRESHOLD)
    score, label, probability = score[confident], label[confident], masks.sigmoid()[confident]
    ids, segments, id_of_stuff = torch.zeros(masks.shape[1:], dtype=torch.int32), [], {}
    if not len(score):
        return ids, segments
    owner = (score[:, None, None] * probability).argmax(0)
    for query, category in enumerate(label.tolist()):
        held, own = owner == query, probability[query] >= 0.5
        region = held & own
        if not region.any() or int(held.sum()) / int(own.sum()) < OVERLAP_THRESHOLD:
            continue
        if category in id_of_stuff:
            ids[region] = id_of_stuff[category]
            continue
        segments.append({"id": len(segments) + 1, "category_id": category, "isthing": things[category]})
        ids[region] = len(segments)
        if not things[category]:
            id_of_stuff[category] = len(segments)
    return ids, segments


def instances(class_logits: torch.Tensor, masks: torch.Tensor, things: list[bool]) -> list[tuple]:
    """(class, score, mask (H, W) bool) of each candidate that is a thing."""
    scores = class_logits.softmax(-1)[:, :-1]
    found = []
    for score, place in zip(*scores.flatten().topk(DETECTIONS, sorted=False), strict=True):
        query, category = divmod(int(place), scores.shape[1])
        if things[category]:
            inside = (masks[query] > 0).float()
            mean = (masks[query].sigmoid() * inside).sum() / (inside.sum() + 1e-6)
            found.append((category, float(score * mean), inside.bool().numpy()))
    return found


def semantic(class_logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """(H, W), the class of each pixel; ModelScope's MaskFormerSemanticHead adds a softmax, which changes no maximum."""
    return torch.einsum("qc,qhw->chw", class_logits.softmax(-1)[:, :-1], masks.sigmoid()).argmax(0)

"""How classes and masks of queries become segments: the published implementations of Mask2Former, where they differ.

Sources: mmdetection 2.28 MaskFormerFusionHead with Mask2Former's test_cfg (EasyCV's and ModelScope's are the same), and
ModelScope's MaskFormerSemanticHead; facebookresearch/Mask2Former, maskformer_model.py, on detectron2; transformers 4.57
Mask2FormerImageProcessor.post_process_{panoptic,instance,semantic}_segmentation with their default arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

LEAST_OVERLAP = 0.8  # of a query's own mask that must be left to it in a panoptic answer
SURE = 0.5  # the mask of a query is where its probability is at least this


@dataclass(frozen=True)
class Rule:
    """One implementation. The numbers are those that its models are published with.

    grid: None resizes mask logits as they came to be, through the network's input, and takes probabilities at the
        picture's size; a number takes them on a square grid of that side, and what follows from them is resized.

    Of panoptic answers:
    least_score: the class of a query must be more probable than this.
    weighted_areas: a query's own mask, whose overlap is tested, is where its score times its mask is SURE.
    sure_only: a segment is where its own mask is, instead of all the ground that it holds against the other queries.
    merge_stuff: the segments of one class of stuff are one.
    number_empty: a thing that is left without a pixel takes an instance number all the same.

    Of instance answers:
    candidates: how many pairs of a query and a class are looked at, the most probable ones; None: as many as queries.
    things_only: classes of stuff are left out.
    least_instance: an instance that scores less is left out.
    """

    grid: int | None = None
    least_score: float = 0.8
    weighted_areas: bool = False
    sure_only: bool = True
    merge_stuff: bool = True
    number_empty: bool = False
    candidates: int | None = 100
    things_only: bool = True
    least_instance: float = 0.0


RULES = {
    "mmdet": Rule(number_empty=True),
    "detectron2": Rule(),
    # It merges only classes that the caller lists, none by default; with a list it may give two segments one number.
    "transformers": Rule(
        grid=384,
        least_score=0.5,
        weighted_areas=True,
        sure_only=False,
        merge_stuff=False,
        candidates=None,
        things_only=False,
        least_instance=0.5,
    ),
}

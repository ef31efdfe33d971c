"""Where the published implementations of Mask2Former differ in making segments of queries.

Sources: mmdetection 2.28 MaskFormerFusionHead with Mask2Former's test_cfg (EasyCV's and ModelScope's are the same), and
ModelScope's MaskFormerSemanticHead; facebookresearch/Mask2Former, maskformer_model.py, on detectron2; mmsegmentation
1.2 Mask2FormerHead.predict; transformers 4.57 Mask2FormerImageProcessor's
post_process_{panoptic,instance,semantic}_segmentation with their default arguments, and MaskFormerImageProcessor's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

OVERLAP_THRESHOLD = 0.8  # a panoptic segment must keep this share of its query's own mask
MASK_THRESHOLD = 0.5  # a query's own mask is where its probability is at least this
OWN_GRID = -1  # that of the network's masks


@dataclass(frozen=True)
class Rule:
    """One implementation, with the numbers that its models are published with.

    grid: None resizes mask logits to the network's input, then to the picture, and takes probabilities there; a number
        takes probabilities on a square grid of that side, OWN_GRID on the masks' own, and resizes what follows.

    Semantic:
    scores_at_input: the scores of the classes are made at the size of the network's input and resized to the picture,
        instead of masks that are resized to it.

    Panoptic:
    score_threshold: the class probability of a query must be above this.
    weighted_areas: the own mask whose overlap is tested is where score times mask reaches MASK_THRESHOLD.
    filter_low_score: a segment consists of the pixels of its own mask only, not of all pixels that it wins.
    merge_stuff: all segments of one class of stuff become one.
    number_empty: a thing left without a pixel takes an instance number nevertheless.

    Instance:
    max_per_image: how many pairs of a query and a class are candidates, the most probable ones; None: as many as there
        are queries.
    things_only: classes of stuff are left out.
    instance_score_threshold: the score of an instance must be at least this.
    """

    grid: int | None = None
    scores_at_input: bool = False
    score_threshold: float = 0.8
    weighted_areas: bool = False
    filter_low_score: bool = True
    merge_stuff: bool = True
    number_empty: bool = False
    max_per_image: int | None = 100
    things_only: bool = True
    instance_score_threshold: float = 0.0


RULES = {
    "mmdet": Rule(number_empty=True),
    "detectron2": Rule(),
    "detectron2_all": Rule(score_threshold=0.0),  # its configurations of Mapillary: every query that sees something
    # The original's models of semantic segmentation alone do the same.
    "mmseg": Rule(scores_at_input=True),
    # It merges only classes that the caller lists, none by default; with a list it may give two segments one number.
    "transformers": Rule(
        grid=384,
        score_threshold=0.5,
        weighted_areas=True,
        filter_low_score=False,
        merge_stuff=False,
        max_per_image=None,
        things_only=False,
        instance_score_threshold=0.5,
    ),
}
RULES["transformers_maskformer"] = replace(RULES["transformers"], grid=OWN_GRID)

"""ModelScope's scripts with their imports changed: the names that the models' cards use, under one roof.

    from ms_seg.modelscope import OutputKeys, Tasks, pipeline, semantic_seg_masks_to_image

What follows the imports stays as it is. Results have ModelScope's keys, types and order, and the constant scores that
it gives; the model's own stand beside them as "confidences".
"""

from ms_seg.modelscope.constants import DownloadMode, Hubs, OutputKeys, Tasks, Trainers
from ms_seg.modelscope.msdatasets import MsDataset
from ms_seg.modelscope.pipelines import pipeline
from ms_seg.modelscope.results import panoptic_seg_masks_to_image, semantic_seg_masks_to_image
from ms_seg.modelscope.trainers import build_trainer

__all__ = [
    "DownloadMode", "Hubs", "MsDataset", "OutputKeys", "Tasks", "Trainers", "build_trainer",
    "panoptic_seg_masks_to_image", "pipeline", "semantic_seg_masks_to_image",
]  # fmt: skip

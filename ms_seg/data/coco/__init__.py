"""COCO's files: annotations, panoptic maps, run lengths and boxes."""

"""PQ, SQ and RQ of panoptic maps."""

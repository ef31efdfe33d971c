"""Building blocks that know nothing of segmentation. What differs between devices is decided here alone."""

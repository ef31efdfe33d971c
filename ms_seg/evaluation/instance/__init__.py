"""Average precision of boxes and masks."""

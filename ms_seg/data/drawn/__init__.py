"""A drawn world, whose labels are all known: for demos and tests."""

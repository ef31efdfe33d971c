"""A world that is drawn: pictures of which every label is known, for demos and tests."""

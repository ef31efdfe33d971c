"""Metrics, in plain NumPy, streamed over the pictures of a data set."""

"""Datasets, pictures and what becomes of them on the way to a network: plain NumPy, no MindSpore."""

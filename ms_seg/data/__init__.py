"""Datasets, drawn scenes, label sets and palettes: plain NumPy, no MindSpore."""

"""From a network's outputs to labels and segments at the picture's own size: NumPy, and C where that pays."""

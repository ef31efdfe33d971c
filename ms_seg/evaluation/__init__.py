"""How good predictions are: metrics in plain NumPy, streamed over pictures, the loop over a dataset, its report."""

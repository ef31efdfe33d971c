"""How good predictions are: a loop over a dataset, metrics in plain NumPy, a report; a room for each task."""

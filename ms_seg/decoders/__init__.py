"""From a pyramid of features to a prediction."""

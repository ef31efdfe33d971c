"""From a file to a model, and what a file says of itself."""

"""What is learned from a dataset: the loss, the batches, the validation."""

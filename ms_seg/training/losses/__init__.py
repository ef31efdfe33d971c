"""Losses, as the references compute them."""

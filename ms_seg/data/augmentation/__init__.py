"""Training pictures, as each of the references makes them."""

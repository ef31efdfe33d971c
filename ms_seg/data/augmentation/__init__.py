"""How each of the references makes training samples of pictures."""

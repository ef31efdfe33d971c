"""What a person gets: label maps, masks, segments, drawings, files."""

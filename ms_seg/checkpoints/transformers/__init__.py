"""transformers' folders: what their JSON files say of a model, and a model written as such a folder."""

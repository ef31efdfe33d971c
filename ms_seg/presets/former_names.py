"""What fields and numbers were called before: old commands and run folders are still understood."""

FORMER_RECIPE = {"undecayed": "no_weight_decay", "most_targets": "max_targets"}

FORMER_FIELDS = {  # of a preset: each backbone's sizes had names of their own in a system that took several
    "mit_channels": "embed_dims", "mit_depths": "depths", "mit_heads": "heads", "resnet_depths": "depths",
}  # fmt: skip

"""From what a person names to a model and its weights."""

from __future__ import annotations

from pathlib import Path

from ms_seg.hub.address import address_of_model, find_address
from ms_seg.presets import find_preset


def choose_model(name: str | None, checkpoint: str | None) -> tuple[str, str | Path]:
    """The model's name and its weights: as given, found in the file ("auto"), those of a hub, or the embedded ones.

    Raises ValueError where neither is named, for an unknown name, and for a published model without its weights.
    """
    if checkpoint is not None:
        return name or "auto", checkpoint
    if name is None or name == "auto":
        raise ValueError(
            "no model is named: pass --checkpoint FILE, which says which model it is, or --model NAME, of which "
            "`python -m ms_seg models` lists the published ones"
        )
    if address_of_model(name):
        return "auto", name
    preset = find_preset(name)
    if preset.embedded is None:
        source = " or ".join(map(str, preset.published)) or "them"
        names = [name for entry in preset.published for name in (entry.id, entry.file) if name and find_address(name)]
        by_name = f", or pass --model {names[0]}, which downloads it" if names else ""
        raise ValueError(
            f"{preset.name} needs its weights: download {source} and pass the file as --checkpoint{by_name}"
        )
    return preset.name, preset.embedded

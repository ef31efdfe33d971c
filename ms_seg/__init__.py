"""Published PyTorch segmentation models as native MindSpore cells.

import ms_seg

model = ms_seg.create_model("segformer_b0_cocostuff164k", checkpoint="epoch.pth")
answer = ms_seg.Segmenter(model)("street.jpg")
answer.draw().save("street.overlay.png")
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ms_seg.inference import Segmenter
    from ms_seg.presets import list_models
    from ms_seg.systems import Model

__all__ = ["Segmenter", "create_model", "list_models", "to_pretrained"]
__version__ = "0.1.0"


def create_model(
    name: str,
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    fine_tune: bool = False,
    weights: str = "",
    drop: Sequence[str] = (),
    **overrides: Any,
) -> Model:
    """A model by its name, such as "segformer_b0_ade20k", with the weights of a checkpoint.

    Args:
        name: a name of `list_models()`, or "auto" to infer it from the checkpoint's keys and shapes. A hub's name too,
            which brings its checkpoint.
        checkpoint: any container that `convert.open_checkpoint` reads, in any layout that `convert` knows, PyTorch's
            files included; or a hub's name (see `ms_seg.hub.find_address`), whose files are downloaded. None
            initialises freshly, as the paper says. A checkpoint that holds the backbone alone leaves the decoder
            freshly initialised.
        fine_tune: the model is to be trained on, for classes that need not be the checkpoint's. Where they are others
            (another number of them, or a label_set that differs from the one that the file records), the classifier is
            freshly initialised and a warning says so. Without it, a file of other classes does not fit the model.
        weights: of a checkpoint with several sets of them, such as "ema" or "teacher", the one that is meant.
        drop: shell-style patterns of names in the checkpoint that are not the model's.
        overrides: fields of the preset, such as num_classes=21 or backbone=("resnet", {"depths": (3, 4, 6, 3)}).

    Returns: a Cell from normalised images (N, 3, H, W) float32 to what the reference's forward returns, in inference
        mode. Its `preset` says what it is, and its `checkpoint` which file its weights come from.

    Raises: ValueError for an unknown name or field; CheckpointError (a ValueError) for a file that cannot be read or
        does not fit the model, naming every tensor that is left over on either side.
    """
    from ms_seg.cells.interrupts import load_mindspore
    from ms_seg.presets import find_preset, list_models

    if checkpoint is None and name not in ("auto", *list_models()):
        from ms_seg.hub import address_of_model  # imported late: the table of models needs no network

        if address_of_model(name):
            name, checkpoint = "auto", name
    if checkpoint is not None:
        load_mindspore()
        from ms_seg.checkpoints.loading import Choice, load_model

        return load_model(name, checkpoint, overrides, fine_tune, Choice(weights, tuple(drop)))
    if name == "auto":
        raise ValueError('name="auto" needs a checkpoint to infer the model from')
    preset = find_preset(name).override(**overrides)
    load_mindspore()
    from ms_seg.systems import build  # imported late, as above: the table of models needs no MindSpore

    return build(preset)


def to_pretrained(model: Model, folder: str | os.PathLike[str]) -> None:
    """Write a model as a folder that transformers' from_pretrained opens: weights, config and preprocessor.

    Raises ValueError for a folder that is not empty, and for a network that transformers does not have.
    """
    from convert.reading.entry import ArrayEntry
    from ms_seg.checkpoints.transformers.writing import write_pretrained

    parameters = {parameter.name: ArrayEntry(parameter.asnumpy()) for parameter in model.get_parameters()}
    write_pretrained(folder, model.preset, parameters)


# Imported when they are asked for: the table of models needs no MindSpore, and `import ms_seg` nothing at all.
_HOMES = {"Segmenter": "ms_seg.inference", "list_models": "ms_seg.presets"}


def __getattr__(name: str) -> Any:
    if name == "Segmenter":
        from ms_seg.cells.interrupts import load_mindspore

        load_mindspore()
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ms_seg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})

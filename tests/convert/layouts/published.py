"""Files as they are published, by their manifests: every key, shape and dtype, and numbers that follow from them.

manifests.tar.xz holds a manifest for each file: a line for each tensor, its key, shape and dtype with tabs between.
These are facts, taken from the networks of the published code (transformers, mmsegmentation, mmdetection, ModelScope,
EasyCV, detectron2, lang-seg, CLIP, timm, torchvision and the papers' own repositories), and none of the weights.
make_manifests.py wrote those of mmdetection 3, mmsegmentation 1 and timm's Swin and BEiT.
mask2former_*_detectron2 has the key of the published files, static_query, where today's code says query_feat.

    tar -tf manifests.tar.xz                                 # the names
    tar -xOf manifests.tar.xz segformer_b0_hf_ade150.tsv     # one of them
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=0644 --format=ustar -c *.tsv | xz -9e -T1

The last line packs a folder of them, always to the same bytes. test_published.py names all that must be there.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ms_seg.checkpoints.loading import outline, shapes_of
from ms_seg.presets import find_preset

ARCHIVE = Path(__file__).with_name("manifests.tar.xz")


@dataclass(frozen=True)
class Declared:
    """An entry of which only shape and dtype are known; its numbers count up from one that its name tells."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def numpy(self) -> np.ndarray:
        numbers = np.arange(np.prod(self.shape, dtype=int)) + sum(map(ord, self.name))
        return (numbers % 2003).astype(self.dtype).reshape(self.shape)


def manifests(*beginnings: str) -> dict[str, str]:
    """The manifests whose names begin so: their text, by name. Raises LookupError for a beginning that none has."""
    names = sorted(_archive())
    for beginning in beginnings:
        if not any(name.startswith(beginning) for name in names):
            raise LookupError(f"{ARCHIVE.name} holds no manifest whose name begins with {beginning!r}")
    return {name: _archive()[name] for name in names if name.startswith(beginnings)}


def read_manifest(text: str) -> dict[str, Declared]:
    """The tensors that a manifest declares, by key."""
    rows = (line.split("\t") for line in text.splitlines())
    return {
        key: Declared(key, tuple(int(n) for n in shape.strip("[]").split(",") if n), dtype)
        for key, shape, dtype in rows
    }


@cache
def _archive() -> dict[str, str]:
    with tarfile.open(ARCHIVE) as archive:
        return {member.name.removesuffix(".tsv"): archive.extractfile(member).read().decode() for member in archive}


@cache
def model_shapes(preset_name: str, **overrides: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's parameters."""
    return shapes_of(outline(find_preset(preset_name).override(**overrides)))

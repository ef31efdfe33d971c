"""Weights that a training begins with: backbones that learned on ImageNet, and CLIP's, wherever they are published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ms_seg.presets.preset import Published


@dataclass(frozen=True)
class StartingWeights:
    """A part of models. name: of the network. part: which part it is, as a model's parameters are named. licence: ""
    where its publisher's page has to be asked. model: one of the published models that have this part."""

    name: str
    part: str
    licence: str
    published: tuple[Published, ...]
    model: str

    @property
    def passed_as(self) -> str:
        """What is passed for a checkpoint: the name on a hub, or of the file that is somewhere else."""
        first = self.published[0]
        return first.id if first.hub == "huggingface" else first.file


# mmsegmentation's conversions of the original's files: stamp and the first digits of the SHA-256, in their names.
_MIT = {
    "b0": "7e0fe6dd", "b1": "02e5a6a1", "b2": "66e8bf70", "b3": "13b1141c", "b4": "d588d980", "b5": "658746d9",
}  # fmt: skip
_SWIN = {
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window12_384",
    "swin_b_in21k": "swin_base_patch4_window12_384_22k",
    "swin_l": "swin_large_patch4_window12_384_22k",
}
_TIMM = {  # the licence of each, and a model that has it
    "swin_l": ("swin_large_patch4_window12_384.ms_in22k", "", "mask2former_swin_l_coco_panoptic"),
    "vitl16": ("vit_large_patch16_384.augreg_in21k_ft_in1k", "Apache-2.0", "lseg_vitl16_ade20k"),
    "vitb32": ("vit_base_patch32_384.augreg_in21k_ft_in1k", "Apache-2.0", "lseg_vitb32_ade20k"),
    "beit_l": ("beit_large_patch16_224.in22k_ft_in22k", "", "vit_adapter_beit_l_cocostuff164k_czczup"),
    "beitv2_l": ("beitv2_large_patch16_224.in1k_ft_in22k", "", "vit_adapter_beit_l_cocostuff10k_czczup"),
}
_CLIP = {  # file -> its SHA-256, which is also its folder, and a model that has its text transformer
    "ViT-B-32.pt": ("40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", "lseg_vitl16_ade20k"),
    "RN50x16.pt": ("52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa", "lseg_rn50x16_vitl16_ade20k"),
}


def _rows() -> Iterator[StartingWeights]:
    for size, digits in _MIT.items():
        file = f"mit_{size}_20220624-{digits}.pth"
        places = (
            Published("huggingface", f"nvidia/mit-{size}"),
            Published("openmmlab", "mmsegmentation/v0.5/pretrain/segformer", file, f"sha256:{digits}"),
        )
        licence = "NVIDIA Source Code License (non-commercial)"
        yield StartingWeights(f"mit_{size}", "backbone", licence, places, f"segformer_{size}_ade20k")
    for name, file in _SWIN.items():
        place = Published("github", "SwinTransformer/storage/v1.0.0", f"{file}.pth")
        yield StartingWeights(name, "backbone", "MIT", (place,), f"mask2former_{name}_coco_panoptic")
    for name, (file, licence, model) in _TIMM.items():
        yield StartingWeights(name, "backbone", licence, (Published("huggingface", f"timm/{file}"),), model)
    for file, (sha256, model) in _CLIP.items():
        place = Published("openai", f"clip/models/{sha256}", file, f"sha256:{sha256}")
        yield StartingWeights(f"clip_{file.removesuffix('.pt')}", "text", "MIT", (place,), model)


STARTING_WEIGHTS = tuple(_rows())

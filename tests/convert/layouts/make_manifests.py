"""Writes manifests of networks as their published code builds them: every key, shape and dtype, and no weights.

    PYTHONPATH=. python tests/convert/layouts/make_manifests.py FOLDER

mmdetection 3.3 and mmsegmentation 1.2 come from their wheels, with mmcv 2.1 and mmengine, and timm from its own.
Nothing compiled of them is used. published.py says how the files are packed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "parity"))
import wheels  # noqa: E402
from references import mmcv_source  # noqa: E402

MMCV = "2.1.0"
WHEELS = {"mmengine": "0.10.7", "mmdet": "3.3.0", "mmsegmentation": "1.2.2", "termcolor": "3.3.0", "rich": "15.0.0"}
ABSENT = (
    "torchvision", "torchvision.ops", "torchvision.ops.misc", "torchvision.transforms", "torchvision.models",
    "torchvision.utils", "timm.data", "timm.models._builder", "mmcv._ext", "prettytable", "terminaltables",
    "shapely", "shapely.geometry",
)  # fmt: skip

# manifest -> the package, and its configuration
CONFIGURATIONS = {
    "mask2former_r50_coco_panoptic_mmdet3": ("mmdet", "mask2former_r50_8xb2-lsj-50e_coco-panoptic"),
    "mask2former_swint_coco_instance_mmdet3": ("mmdet", "mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco"),
    "mask2former_r101_cityscapes_semantic_mmseg1": ("mmseg", "mask2former_r101_8xb2-90k_cityscapes-512x1024"),
    "mask2former_swint_ade20k_semantic_mmseg1": ("mmseg", "mask2former_swin-t_8xb2-160k_ade20k-512x512"),
}


def of_timm() -> Iterator[tuple[str, torch.nn.Module]]:
    """Backbones with their classifiers, in the sizes of the models of these names."""
    folder = wheels.unpacked("timm", "1.0.31") / "timm"
    wheels.package("timm", folder)
    wheels.package("timm.models", folder / "models")
    swin, beit = (importlib.import_module(f"timm.models.{name}") for name in ("swin_transformer", "beit"))
    yield "swin_tiny_patch4_window7_224_timm", swin.SwinTransformer()
    yield "beit_base_patch16_224_timm", beit.Beit(use_abs_pos_emb=False, use_rel_pos_bias=True, init_values=0.1)


def of_openmmlab() -> Iterator[tuple[str, torch.nn.Module]]:
    folders = {package: wheels.unpacked(package, version) for package, version in WHEELS.items()}
    sys.path[:0] = [str(mmcv_source(MMCV)), *map(str, folders.values())]
    importlib.import_module("mmdet.models")
    importlib.import_module("mmseg.models")
    config, registry = importlib.import_module("mmengine.config"), importlib.import_module("mmengine.registry")
    for name, (package, configuration) in CONFIGURATIONS.items():
        folder = folders["mmdet" if package == "mmdet" else "mmsegmentation"] / package / ".mim/configs/mask2former"
        read = config.Config.fromfile(folder / f"{configuration}.py")
        read.model.backbone.init_cfg = None  # it would fetch ImageNet's weights
        with registry.DefaultScope.overwrite_default_scope(package):
            yield name, registry.MODELS.build(read.model)


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    wheels.leave_out(*ABSENT)
    for name, network in chain(of_timm(), of_openmmlab()):
        rows = ((key, list(tensor.shape), tensor.dtype) for key, tensor in network.state_dict().items())
        lines = (f"{key}\t{shape}\t{str(dtype).removeprefix('torch.')}\n" for key, shape, dtype in rows)
        (folder / f"{name}.tsv").write_text("".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

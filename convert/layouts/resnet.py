"""ResNet with bottlenecks, in the layouts of torchvision (mmcv's and EasyCV's too), lang-seg, detectron2 and
transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convert.layouts.names import count_cells
from convert.layouts.row import Layout, drop
from convert.layouts.table import read_table

# lang-seg's layer1 is an nn.Sequential of conv1, bn1, ReLU, pooling and torchvision's layer1.
TABLE = read_table("""
    kind       ours           torchvision   lang-seg      detectron2                transformers

    under ours          backbone.
    under lang-seg      net.pretrained.

    weight     stem.conv      conv1         layer1.0      stem.conv1                embedder.embedder.convolution
    batchnorm  stem.norm      bn1           layer1.1      stem.conv1.norm (frozen)  embedder.embedder.normalization

    under ours          backbone.stages.0.blocks.{j}.  backbone.stages.{i+1}.blocks.{j}.
    under torchvision   layer1.{j}.                    layer{i+2}.{j}.
    under lang-seg      net.pretrained.layer1.4.{j}.   net.pretrained.layer{i+2}.{j}.
    under detectron2    res2.{j}.                      res{i+3}.{j}.
    under transformers  encoder.stages.0.layers.{j}.   encoder.stages.{i+1}.layers.{j}.

    weight     reduce.conv    conv1         conv1         conv1                     layer.0.convolution
    batchnorm  reduce.norm    bn1           bn1           conv1.norm (frozen)       layer.0.normalization
    weight     spatial.conv   conv2         conv2         conv2                     layer.1.convolution
    batchnorm  spatial.norm   bn2           bn2           conv2.norm (frozen)       layer.1.normalization
    weight     expand.conv    conv3         conv3         conv3                     layer.2.convolution
    batchnorm  expand.norm    bn3           bn3           conv3.norm (frozen)       layer.2.normalization
    weight     shortcut.conv  downsample.0  downsample.0  shortcut                  shortcut.convolution
    batchnorm  shortcut.norm  downsample.1  downsample.1  shortcut.norm (frozen)    shortcut.normalization
""")

CLASSIFIER_DROPPED = "the ImageNet classifier: segmentation has its own decoder"

LAYOUTS = (
    Layout(
        name="torchvision-resnet",
        system="",
        title="torchvision's ResNet, trained on ImageNet",
        rows=(*TABLE.rows("torchvision"), drop("fc.{name}", CLASSIFIER_DROPPED)),
        covers="backbone.",
    ),
    Layout(
        name="hf-resnet",
        system="",
        title="transformers' ResNet, trained on ImageNet",
        rows=(*TABLE.rows("transformers", under="resnet."), drop("classifier.{name}", CLASSIFIER_DROPPED)),
        covers="backbone.",
    ),
    Layout(name="native-resnet", system="", title="ms_seg's own ResNet", rows=TABLE.own, covers="backbone."),
)


def sizes_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The sizes of ResNet that the shapes, by our names, tell; None if they are not a ResNet's."""
    if "backbone.stem.conv.weight" not in shapes:
        return None
    return {
        "depths": tuple(count_cells(shapes, f"backbone.stages.{level}.blocks.") for level in range(4)),
        "stem_channels": shapes["backbone.stem.conv.weight"][0],
    }

"""What each network needs of a device, and what MindSpore says that devices have."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

ROOT = Path(__file__).resolve().parents[2]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("devices", ROOT / "scripts" / "devices.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["devices"] = module  # its dataclass looks for itself there
    spec.loader.exec_module(module)
    return module


devices = load()


def listed() -> dict[str, dict[str, str]]:
    """The table of docs/devices.md: of each operator, what stands in each column."""
    text = devices.PAGE.read_text(encoding="utf-8").split(devices.BEGIN)[1].split(devices.END)[0]
    title, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines())
    return {row[0].split(" ")[0]: dict(zip(title, row, strict=True)) for row in rows}


@pytest.mark.parametrize("device", devices.DEVICES)
def test_every_operator_of_the_table_is_documented_for_the_device(device):
    table = listed()
    assert len(table) > 50
    assert not [name for name in table if device not in devices.platforms(name)]
    assert {row[device] for row in table.values()} == {"yes"}


def check(network: str, mark: str, found: dict[str, set[str]]) -> None:
    lacking = {name for name in found if not set(devices.DEVICES) <= set(devices.platforms(name))}
    assert not lacking, f"{network} needs what a device lacks: {lacking}"
    listed_here = {name for name, row in listed().items() if mark in row[network]}
    assert set(found) == listed_here, "the table is of former networks: run scripts/devices.py --write"


@pytest.mark.parametrize("network", devices.NETWORKS)
def test_inference_needs_what_the_table_says_and_every_device_has_it(network):
    check(network, "i", devices.needs_of(network, training=False).inference)


@pytest.mark.parametrize("network", devices.NETWORKS if os.environ.get("MS_SEG_ALL_OPERATORS") else ["SegFormer"])
def test_training_needs_what_the_table_says_and_every_device_has_it(network):
    """Of one network, for those of the others take minutes to compile: MS_SEG_ALL_OPERATORS=1 is for all of them."""
    check(network, "t", devices.needs_of(network).training)


@pytest.mark.parametrize("name", ["InplaceScatterSrc", "PowTensorScalar", "ZerosLikeExt"])
def test_operators_of_ascend_alone_are_known_as_such(name):
    """Three that networks needed here until cells were written otherwise."""
    assert devices.platforms(name) == ("Ascend",)


def test_an_operator_that_nobody_documents_is_on_no_device():
    assert devices.platforms("NoSuchOperator") == ()
    assert devices.platforms("LayerNormGrad") == devices.platforms("LayerNorm") == ("Ascend", "GPU", "CPU")


class _Power(nn.Cell):
    def construct(self, x: Tensor) -> Tensor:
        return ops.erf(x) + x.astype(ms.float16).astype(ms.float32)


def test_operators_and_types_are_those_of_the_graph():
    found = devices.operators_of(_Power(), Tensor(np.zeros((2, 3), np.float32)))
    assert found == {"Erf": {"float32"}, "Cast": {"float16", "float32"}, "Add": {"float32"}}


def test_a_table_replaces_the_one_that_was_there():
    page = f"before\n{devices.BEGIN}old\n{devices.END}after\n"
    needs = {"Net": devices.Needs({"Erf": {"float32"}}, {"Erf": {"float32"}, "InplaceScatterSrc": {"float32"}})}
    written = devices.written(page, devices.table(needs))
    assert "old" not in written and written.startswith("before\n") and written.endswith("after\n")
    assert "| Erf | float32 | yes | yes | it |" in written
    assert re.search(r"\| InplaceScatterSrc \| float32 \| yes \| \*\*no\*\* \| t \|", written)

"""The one place where a device is chosen."""

from __future__ import annotations

import mindspore as ms
import pytest

from ms_seg.commands.device import set_up_device


@pytest.fixture
def said(monkeypatch) -> list[tuple[object, ...]]:
    """What MindSpore is told, on a machine that is said to have every device."""
    calls: list[tuple[object, ...]] = []

    def record(owner, name):
        monkeypatch.setattr(owner, name, lambda value: calls.append((name, value)))

    monkeypatch.setattr(ms, "set_device", lambda name: calls.append(("set_device", name)))
    for name in ("conv_allow_hf32", "matmul_allow_hf32", "precision_mode"):
        record(ms.device_context.ascend.op_precision, name)
    for name in ("conv_allow_tf32", "matmul_allow_tf32"):
        record(ms.device_context.gpu.op_precision, name)
    return calls


def test_full_float32_switches_off_what_computes_in_fewer_digits(said):
    set_up_device("Ascend", full_float32=True)
    assert said == [
        ("set_device", "Ascend"),
        ("conv_allow_hf32", False),
        ("matmul_allow_hf32", False),
        ("precision_mode", "must_keep_origin_dtype"),
    ]
    said.clear()
    set_up_device("GPU", full_float32=True)
    assert said == [("set_device", "GPU"), ("conv_allow_tf32", False), ("matmul_allow_tf32", False)]


@pytest.mark.parametrize("device", ["Ascend", "GPU", "CPU"])
def test_without_it_nothing_is_switched(said, device):
    set_up_device(device)
    assert said == ([("set_device", device)] if device != "CPU" else [])

"""Which of the dictionaries in a checkpoint is the model."""

import numpy as np
import pytest

from convert import CheckpointError, open_checkpoint
from tests.convert.reading import files
from tests.convert.reading.files import Call, Name, tensor

MODEL = {"net.weight": tensor(np.ones(2, np.float32))}
OTHER = {"other": tensor(np.zeros(3, np.float32))}
OPTIMIZER = {"state": {0: {"exp_avg": tensor(np.ones(2))}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


def names(tmp_path, checkpoint: object) -> list[str]:
    path = tmp_path / "model.pth"
    path.write_bytes(files.torch_zip(checkpoint))
    with open_checkpoint(path) as tensors:
        return list(tensors)


@pytest.mark.parametrize(
    "checkpoint",
    [
        MODEL,
        {"state_dict": MODEL, "meta": {"epoch": 1}, "optimizer": OPTIMIZER},
        {"model": MODEL, "optimizer": OPTIMIZER, "epoch": 3},
        {"model_state_dict": MODEL, "optimizer_state_dict": OPTIMIZER},
        {"module": MODEL, "optimizer": OTHER},
        {"state_dict": MODEL, "state_dict_ema": OTHER, "ema_state_dict": OTHER},
        {"ema": OTHER, "model": MODEL},
        {"ema": MODEL, "model": None, "updates": 3},
        {"ema": {"decay": 0.99, "shadow": MODEL}, "step": tensor(np.array(3))},
        {"model": {"state_dict": MODEL}},
        {"state_dict": MODEL, "callbacks": {"EarlyStopping": OTHER}, "optimizer_states": [OPTIMIZER]},
        {"blobs": MODEL, "optim": OTHER, "schedulers": OTHER},
        {"state_dict": {}, "model": MODEL},
        {**MODEL, "epoch": 3, "optimizer": OTHER},
        Call(Name("mmcv", "ConfigDict"), items={"state_dict": MODEL}),
    ],
)
def test_the_model_is_found(checkpoint, tmp_path):
    assert names(tmp_path, checkpoint) == ["net.weight"]


@pytest.mark.parametrize(
    ("checkpoint", "sentence"),
    [
        ({"optimizer": OPTIMIZER, "epoch": 1}, "names 'optimizer', 'epoch'"),
        ({"teacher": MODEL, "student": OTHER}, "several models, 'teacher', 'student'"),
        (tensor(np.ones(2)), "single tensor without a name"),
        ([MODEL], "a value of type list"),
        (Call(Name("a", "B")), "class 'a.B'"),
        ({"x" * 5000: MODEL["net.weight"]}, "name of 5000 characters|without names"),
    ],
)
def test_without_a_model_what_is_there_is_said(checkpoint, sentence, tmp_path):
    with pytest.raises(CheckpointError, match=sentence):
        names(tmp_path, checkpoint)


def test_a_pickled_module_has_the_names_of_its_state_dict(tmp_path):
    def module(parameters: dict, buffers: dict, modules: dict, skipped: tuple = ()) -> Call:
        state = {
            "training": True,
            "_parameters": {name: Call(Name("torch._utils", "_rebuild_parameter"), value, True, {}) if value else None
                            for name, value in parameters.items()},
            "_buffers": buffers,
            "_modules": modules,
            "_non_persistent_buffers_set": set(skipped),
        }  # fmt: skip
        return Call(Name("torch.nn.modules.module", "Module"), state=state)

    weight = MODEL["net.weight"]
    norm = module({"weight": weight}, {"running_mean": weight, "cache": weight}, {}, ("cache",))
    net = module({"cls_token": weight, "bias": None}, {}, {"norm": norm, "none": None, "head": norm})
    expected = ["cls_token", "norm.weight", "norm.running_mean", "head.weight", "head.running_mean"]
    assert names(tmp_path, net) == expected
    assert names(tmp_path, {"model": net, "epoch": 1}) == expected

"""`serve`: which models it shows, what it says, and how it ends."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import ms_seg
from ms_seg.__main__ import main
from ms_seg.cells import native
from ms_seg.commands import serve
from ms_seg.commands.serve import pairs
from ms_seg.presets import ASSETS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], []),
        ([("model", "a")], [("a", None)]),
        ([("checkpoint", "f")], [(None, "f")]),
        ([("model", "a"), ("checkpoint", "f")], [("a", "f")]),
        ([("checkpoint", "f"), ("model", "a")], [("a", "f")]),
        ([("model", "a"), ("model", "b"), ("checkpoint", "f")], [("a", None), ("b", "f")]),
        ([("model", "a"), ("checkpoint", "f"), ("model", "b"), ("checkpoint", "g")], [("a", "f"), ("b", "g")]),
        ([("checkpoint", "f"), ("checkpoint", "g")], [(None, "f"), (None, "g")]),
    ],
)
def test_a_checkpoint_goes_with_the_model_before_it(arguments, found):
    assert pairs(arguments) == found


@pytest.mark.parametrize(
    "arguments",
    [
        [("model", "a"), ("checkpoint", "f"), ("checkpoint", "g")],
        [("checkpoint", "f"), ("model", "a"), ("model", "b")],
    ],
)
def test_a_checkpoint_whose_model_is_not_said_is_refused(arguments):
    with pytest.raises(ValueError, match="put its --model before it"):
        pairs(arguments)


def test_a_published_model_without_its_weights_is_refused(capsys):
    assert main(["serve", "--model", "segformer_b0_ade20k"]) == 2
    assert "segformer_b0_ade20k needs its weights" in capsys.readouterr().err


def test_what_it_needs_is_named_where_it_is_not_installed(capsys, monkeypatch):
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    assert main(["serve"]) == 2
    assert (
        capsys.readouterr().err == "ms_seg serve: the page needs starlette and uvicorn: pip install starlette uvicorn\n"
    )


def test_a_port_that_is_taken_is_said_to_be_before_a_model_is_loaded(capsys, monkeypatch):
    monkeypatch.setattr(ms_seg, "create_model", lambda *_, **__: pytest.fail("it was loaded"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"ms_seg serve: 127.0.0.1, port {port}, cannot be served on: Address already in use")
    assert said.count("\n") == 1


def test_a_task_that_the_model_has_not_is_refused(capsys):
    assert main(["serve", "--model", "segformer_tiny_shapes", "--task", "panoptic", "--port", "0"]) == 2
    assert "segformer_tiny_shapes gives no panoptic answers" in capsys.readouterr().err


def test_networks_compute_in_the_precision_that_is_asked_for(capsys, monkeypatch):
    monkeypatch.setattr(native, "available", lambda: False)
    assert main(["serve", "--model", "segformer_tiny_shapes", "--precision", "bfloat16", "--port", "0"]) == 2
    assert "precision bfloat16 needs a C compiler" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_is_a_number(port, capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--port", port])
    assert "it must be a number from 0 to 65535" in capsys.readouterr().err


def test_it_serves_until_ctrl_c(tmp_path):
    """Without a model, which it says; and with Ctrl-C, which ends it at once."""
    command = [sys.executable, "-m", "ms_seg", "serve", "--port", "0", "--mode", "pynative"]
    server = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = server.stdout.readline()
        assert line.startswith("segformer_tiny_shapes, lseg_tiny_shapes, mask2former_tiny_shapes: http://127.0.0.1:")
        port = int(line.split(":")[-1].split("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/segment?model=segformer_tiny_shapes", (ASSETS / "shapes_1.png").read_bytes())
        answer = json.loads(connection.getresponse().read())
        assert {"circle", "ring", "grass", "sand"} <= {segment["category"] for segment in answer["segments"]}
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=30)
    finally:
        server.kill()
    assert server.returncode == 130
    assert err.splitlines() == [serve._NOTE, "stopped"]
    assert list(tmp_path.iterdir()) == []

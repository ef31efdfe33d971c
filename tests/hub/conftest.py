"""Hubs on this machine, each asked by the code that asks the real one, with an empty cache."""

import pytest

from tests.hub.servers import Hub, ask_huggingface, ask_modelscope, serving


@pytest.fixture
def huggingface(monkeypatch, tmp_path):
    with serving(Hub({})) as hub:
        ask_huggingface(monkeypatch, hub.url, tmp_path / "hf")
        yield hub


@pytest.fixture
def modelscope(monkeypatch, tmp_path):
    with serving(Hub({})) as hub:
        ask_modelscope(monkeypatch, hub.url, tmp_path / "ms")
        yield hub

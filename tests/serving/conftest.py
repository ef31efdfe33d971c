import pytest

from tests.serving.serving import served, toys


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return toys(tmp_path_factory.mktemp("toys"))


@pytest.fixture(scope="module")
def port(models):
    with served(models, words=["r", "b"], note="a note") as port:
        yield port

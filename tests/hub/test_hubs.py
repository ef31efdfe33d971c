"""What both hubs are asked for, and what is made of what they answer."""

import json
import os
from dataclasses import replace

import pytest

from convert import CheckpointError
from ms_seg.checkpoints.loading import load_model
from ms_seg.hub import HubError, fetch, find_address
from ms_seg.hub.needed import MAX_BESIDE, weights_in
from tests.hub.servers import Hub, serving

PREFIXES = {"huggingface": "hf", "modelscope": "ms"}
CONFIG = {"config.json": b"{}", "preprocessor_config.json": b"{ }"}  # of one content, a cache may have one file
NAME = "someone/shapes"


@pytest.fixture(params=PREFIXES)
def hub(request):
    """Either hub, with `hub.address` for the model that the tests put there."""
    hub = request.getfixturevalue(request.param)
    hub.address = find_address(f"{PREFIXES[request.param]}:{NAME}")
    return hub


def index(*parts: str) -> bytes:
    return json.dumps({"metadata": {}, "weight_map": {f"key{i}": part for i, part in enumerate(parts)}}).encode()


def kept(folder) -> list[str]:
    """Names of the files in a cache, but for the clients' own notes."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and "snapshots" in path.parts)


# ---------------------------------------------------------------------------------------------------- what is asked for


@pytest.mark.parametrize(
    ("files", "needed"),
    [
        (["model.safetensors", "pytorch_model.bin", "tf_model.h5"], "model.safetensors"),
        (["pytorch_model.bin", "training_args.bin", "optimizer.pt"], "pytorch_model.bin"),
        (["pytorch_model.pt", "demo.jpg", "sub/model.safetensors"], "pytorch_model.pt"),
        (["epoch_50.pth", "rng_state_0.pth", "scheduler.pt", "flax_model.msgpack"], "epoch_50.pth"),
    ],
)
def test_no_file_is_asked_for_that_is_not_needed(hub, files, needed):
    hub.models[NAME] = {**dict.fromkeys([*files, "README.md"], b"x"), **CONFIG}
    folder = fetch(hub.address)
    assert weights_in(folder).name == needed
    assert hub.files == [needed, *CONFIG]
    assert sorted(os.listdir(folder)) == sorted([needed, *CONFIG])


def test_weights_in_parts_come_whole(hub):
    parts = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    hub.models[NAME] = {"model.safetensors.index.json": index(*parts), **dict.fromkeys((*parts, "other.bin"), b"x")}
    path = fetch(hub.address)
    assert path.name == "model.safetensors.index.json"
    assert sorted(os.listdir(path.parent)) == sorted([path.name, *parts])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (index("model-00001-of-00002.safetensors"), "names model-00001-of-00002.safetensors, which .* does not have"),
        (index("../../model.safetensors"), "names files that are no parts: ../../model.safetensors"),
        (index("/etc/passwd"), "names files that are no parts"),
        (index(), "names files that are no parts: nothing"),
        (b"[]", "is no index of parts"),
        (b'{"weight_map": {"a": 1}}', "is no index of parts"),
        (b"\xff", "is no index of parts"),
        (b"[" * 100_000, "is no index of parts"),
    ],
    ids=["not there", "upwards", "absolute", "none", "a list", "a number", "not UTF-8", "too deep"],
)  # fmt: skip
def test_an_index_is_not_believed(hub, content, sentence):
    hub.models[NAME] = {"model.safetensors.index.json": content}
    with pytest.raises(HubError, match=sentence):
        fetch(hub.address)


def test_of_several_files_one_is_to_be_named(hub):
    hub.models[NAME] = {"best.pth": b"best", "last.pth": b"last"}
    with pytest.raises(HubError, match=r"several files of weights, best.pth, last.pth: add /FILE to its name"):
        fetch(hub.address)
    assert fetch(replace(hub.address, file="last.pth")).read_bytes() == b"last"
    with pytest.raises(HubError, match="has no file first.pth: it has best.pth, last.pth"):
        fetch(replace(hub.address, file="first.pth"))


def test_a_model_without_weights_of_pytorch_is_refused(hub):
    hub.models[NAME] = {"tf_model.h5": b"x", **CONFIG}
    with pytest.raises(HubError, match="has no weights of PyTorch's: it has config.json, preprocessor_config.json, tf"):
        fetch(hub.address)


def test_a_description_of_gigabytes_is_not_fetched(hub, monkeypatch):
    monkeypatch.setattr("ms_seg.hub.needed.MAX_BESIDE", 10)
    for module in ("huggingface", "modelscope"):
        monkeypatch.setattr(f"ms_seg.hub.{module}.MAX_BESIDE", 10)
    hub.models[NAME] = {"model.safetensors": b"x" * 20, "config.json": b" " * 11}
    with pytest.raises(HubError, match="config.json of .* has 11 bytes, 10 at most"):
        fetch(hub.address)
    assert MAX_BESIDE > 1 << 20


# ----------------------------------------------------------------------------------------------- what can become of it


def test_a_file_is_downloaded_once(hub):
    hub.models[NAME] = {"model.safetensors": b"weights", **CONFIG}
    assert fetch(hub.address) == fetch(hub.address)
    assert hub.files == ["model.safetensors", *CONFIG]


def test_a_new_version_replaces_the_old_one(hub):
    hub.models[NAME] = {"model.safetensors": b"old weights"}
    fetch(hub.address)
    hub.models[NAME] = {"model.safetensors": b"new weights"}
    hub.commit = "f" * 40
    assert fetch(hub.address).read_bytes() == b"new weights"


def test_an_interruption_costs_what_was_missing(hub):
    content = os.urandom(100_000)
    hub.models[NAME] = {"model.safetensors": content}
    hub.cuts = [60_000]
    assert fetch(hub.address).read_bytes() == content
    assert hub.sent == len(content)


def test_bytes_that_do_not_fit_the_checksum_are_not_kept(hub, tmp_path):
    hub.models[NAME] = {"model.safetensors": b"weights", **CONFIG}
    hub.altered["model.safetensors"] = b"WEIGHTS"
    with pytest.raises(HubError, match="model.safetensors of someone/shapes"):
        fetch(hub.address)
    assert kept(tmp_path) == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"WEIGHTS"]
    hub.altered.clear()
    assert weights_in(fetch(hub.address)).read_bytes() == b"weights"


def test_a_model_that_is_not_there(hub):
    with pytest.raises(HubError, match=f"there is no {NAME} on .*{hub.url}"):
        fetch(hub.address)


@pytest.mark.parametrize("outage", [True, False])
def test_without_the_hub_what_was_fetched_before_is_used(hub, monkeypatch, outage):
    hub.models[NAME] = {"model.safetensors": b"weights", **CONFIG}
    path = fetch(hub.address)
    if outage:
        hub.status = 503
    else:
        unplug(monkeypatch)
    assert fetch(hub.address) == path
    with pytest.raises(HubError, match="cannot be reached"):
        fetch(replace(hub.address, id="someone/other"))


def test_without_a_network_one_sentence_says_what_to_do(hub, monkeypatch):
    unplug(monkeypatch)
    with pytest.raises(HubError) as raised:
        fetch(hub.address)
    sentence = str(raised.value)
    assert "\n" not in sentence and "cannot be reached" in sentence
    assert all(part in sentence for part in (NAME, "127.0.0.1:1", "put them into a folder", "as --checkpoint"))


def unplug(monkeypatch) -> None:
    """Nobody answers any more."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"<!doctype html><title>Log in</title>", "is a web page, not a checkpoint"),
        (b"\x80\x02cos\nsystem\nX\x07\x00\x00\x00exit 66\x85R.", "pytorch_model.bin"),
        (b"", "is an empty file"),
    ],
    ids=["a web page", "a pickle that would run", "nothing"],
)
def test_a_hostile_file_is_one_sentence(hub, content, sentence):
    hub.models[NAME] = {"pytorch_model.bin": content}
    with pytest.raises(CheckpointError, match=sentence) as raised:
        load_model("auto", f"{'hf' if hub.address.hub == 'huggingface' else 'ms'}:{NAME}")
    assert "\n" not in str(raised.value)


# --------------------------------------------------------------------------------------------------------- Hugging Face


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (401, "RepoNotFound", "there is no someone/shapes on Hugging Face, or it is private: look at .*HF_TOKEN"),
        (403, "GatedRepo", "to those alone who accept its terms: do so at .*/someone/shapes, then log in"),
        (401, "", "is not given without a token that may read it: look at .*/someone/shapes, and log in"),
        (404, "RevisionNotFound", "has no revision old"),
    ],
)
def test_what_hugging_face_refuses_is_told(huggingface, status, code, sentence):
    huggingface.status, huggingface.error_code = status, code
    with pytest.raises(HubError, match=sentence) as raised:
        fetch(find_address("hf:someone/shapes@old"))
    assert "\n" not in str(raised.value) and raised.value.status == status


def test_hugging_faces_token_opens_a_private_model(huggingface, monkeypatch):
    huggingface.models[NAME], huggingface.token = {"model.safetensors": b"weights"}, "hf_secret"
    huggingface.error_code = "RepoNotFound"
    with pytest.raises(HubError, match="or it is private"):
        fetch(find_address(f"hf:{NAME}"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert fetch(find_address(f"hf:{NAME}")).read_bytes() == b"weights"


def test_offline_mode_asks_nobody(huggingface, monkeypatch):
    from huggingface_hub import constants

    huggingface.models[NAME] = {"model.safetensors": b"weights"}
    path = fetch(find_address(f"hf:{NAME}"))
    asked = len(huggingface.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(find_address(f"hf:{NAME}")) == path
    assert len(huggingface.requests) == asked


# ----------------------------------------------------------------------------------------------------------- ModelScope


def test_modelscopes_other_owner_is_tried(modelscope):
    modelscope.models["iic/shapes"] = {"pytorch_model.pt": b"weights"}
    assert fetch(find_address("ms:damo/shapes")).read_bytes() == b"weights"
    with pytest.raises(HubError, match="there is no damo/other on ModelScope"):
        fetch(find_address("ms:damo/other"))


def test_modelscopes_second_server_is_asked_for_what_the_first_does_not_have(modelscope, monkeypatch):
    modelscope.models["someone/abroad"] = {"pytorch_model.pt": b"weights"}
    monkeypatch.delenv("MODELSCOPE_ENDPOINT")
    with serving(Hub({})) as first:
        monkeypatch.setattr("ms_seg.hub.modelscope.ENDPOINTS", (first.url, modelscope.url))
        assert fetch(find_address("ms:someone/abroad")).read_bytes() == b"weights"
        first.status = 503
        modelscope.models["someone/abroad"]["pytorch_model.pt"] = b"others"
        assert fetch(find_address("ms:someone/abroad")).read_bytes() == b"others"
        modelscope.models.clear()
        first.status = 0
        with pytest.raises(HubError, match=f"there is no someone/abroad on ModelScope: look at {first.url}/models"):
            fetch(find_address("ms:someone/abroad"))


def test_of_a_listing_that_is_cut_off_the_files_outside_of_folders_are_listed(modelscope, monkeypatch):
    files = {f"pictures/{number}.png": b"" for number in range(4)} | {"pytorch_model.pt": b"weights"}
    modelscope.models[NAME], modelscope.longest = files, 3
    monkeypatch.setattr("ms_seg.hub.modelscope._MAX_LISTED", 3)
    assert fetch(find_address(f"ms:{NAME}")).read_bytes() == b"weights"


def test_a_published_model_whose_file_is_called_otherwise_is_found(modelscope):
    address = find_address("damo/cv_swinL_panoptic-segmentation_cocopan")
    assert address.file == "pytorch_model.pt"
    modelscope.models[address.id] = {"pytorch_model.bin": b"weights"}
    assert fetch(address).read_bytes() == b"weights"
    modelscope.status = 503
    assert fetch(address).read_bytes() == b"weights"


@pytest.mark.parametrize("former", ["hub/models", "models", "hub", "."])
def test_what_modelscopes_client_downloaded_is_used(modelscope, former, tmp_path):
    modelscope.models["damo/shapes1.5"] = {"pytorch_model.pt": b"weights"}
    folder = tmp_path / "ms" / former / "damo" / "shapes1___5"
    folder.mkdir(parents=True)
    (folder / ".msc").write_bytes(b"\x80\x02cos\nsystem\nX\x07\x00\x00\x00exit 66\x85R.")
    (folder / "pytorch_model.pt").write_bytes(b"Weights")  # of another version
    assert fetch(find_address("ms:damo/shapes1.5")).parent != folder
    (folder / "pytorch_model.pt").write_bytes(b"weights")
    modelscope.requests.clear()
    path = fetch(find_address("ms:damo/shapes1.5"))
    assert path.read_bytes() == b"weights" and modelscope.files == []


def test_what_is_fetched_from_modelscope_is_where_its_client_looks(modelscope, tmp_path):
    modelscope.models[NAME] = {"pytorch_model.pt": b"weights"}
    assert fetch(find_address(f"ms:{NAME}")) == tmp_path / "ms/models/someone--shapes/snapshots/master/pytorch_model.pt"


def test_modelscopes_token_opens_a_private_model(modelscope, monkeypatch):
    modelscope.models[NAME], modelscope.token = {"pytorch_model.pt": b"weights"}, "secret"
    with pytest.raises(HubError, match="is not public: look at .*, and set MODELSCOPE_API_TOKEN"):
        fetch(find_address(f"ms:{NAME}"))
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "secret")
    assert fetch(find_address(f"ms:{NAME}")).read_bytes() == b"weights"


def listed(**changes: object) -> dict:
    entry = {"Path": "pytorch_model.pt", "Type": "blob", "Size": 7, "Sha256": "0" * 64, **changes}
    return {"Code": 200, "Data": {"Files": [entry]}}


@pytest.mark.parametrize(
    "answer",
    [
        {"Code": 10010205001, "Message": "model not exists", "Success": False, "Data": None},
        listed(Size=-1),
        listed(Sha256="../../x"),
        listed(Sha256=7),
        {"Data": {"Files": [["pytorch_model.pt"]]}},
        {"Data": {"Files": 7}},
        {"siblings": [7]},
        [],
        "nothing",
    ],
    ids=[
        "a refusal",
        "a size below 0",
        "no checksum",
        "a number for it",
        "a list",
        "a number",
        "siblings",
        "[]",
        "a text",
    ],
)
def test_a_listing_that_is_none_is_one_sentence(hub, answer):
    hub.listing = answer
    with pytest.raises(HubError, match="gives no list of its files|has no weights of PyTorch's") as raised:
        fetch(hub.address)
    assert "\n" not in str(raised.value)


def test_a_file_without_a_published_checksum_is_taken_by_its_size(modelscope):
    modelscope.models[NAME] = {"pytorch_model.pt": b"weights"}
    modelscope.listing = listed(Sha256="")
    assert fetch(find_address(f"ms:{NAME}")).read_bytes() == b"weights"
    modelscope.listing = listed(Sha256="", Size=8)
    with pytest.raises(HubError, match="is 7 bytes long, and 8 were published"):
        fetch(find_address(f"ms:{NAME}"))


@pytest.mark.parametrize("path", ["../model.pt", "/etc/model.pt", "a/../../model.pt", ".model.pt", "a\\model.pt"])
def test_a_hub_does_not_choose_where_a_file_is_put(modelscope, path):
    modelscope.models[NAME] = {path: b"weights"}
    with pytest.raises(HubError, match="has no weights of PyTorch's"):
        fetch(find_address(f"ms:{NAME}"))


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "127.0.0.1:1/"])
def test_modelscopes_server_is_named_with_or_without_its_scheme(monkeypatch, endpoint, tmp_path):
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", endpoint)
    with pytest.raises(HubError, match=r"https?://127\.0\.0\.1:1 cannot be reached"):
        fetch(find_address(f"ms:{NAME}"))

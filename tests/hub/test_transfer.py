"""A file over HTTP: gone on with after an interruption, and kept only if it is the published one."""

import hashlib
import multiprocessing
import os
import urllib.request

import pytest

from ms_seg.hub import Address, HubError, fetch, transfer
from ms_seg.hub.transfer import Checksum, download, read_json
from tests.hub.servers import Hub, serving, sha256

CONTENT = os.urandom(300_000)
PUBLISHED = Checksum("sha256", sha256(CONTENT)[:8])


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(transfer, "_PAUSE", 0)


@pytest.fixture
def hub():
    with serving(Hub({"files": {"model.pth": CONTENT}})) as hub:
        yield hub


@pytest.fixture
def url(hub):
    return f"{hub.url}/files/model.pth"


def test_one_call_goes_on_after_each_interruption(hub, url, tmp_path):
    hub.cuts = [1000, 100_000, 50_000, 1]
    path = download(url, tmp_path / "model.pth", PUBLISHED)
    assert path.read_bytes() == CONTENT
    assert len(hub.requests) == 5
    assert os.listdir(tmp_path) == ["model.pth"]


def test_the_next_call_goes_on_where_the_last_was_given_up(hub, url, tmp_path):
    target = tmp_path / "model.pth"
    hub.cuts = [100_000, 0, 0, 0]
    with pytest.raises(HubError, match="100000 of 300000 bytes came"):
        download(url, target, PUBLISHED)
    assert not target.exists()
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [100_000]
    hub.cuts, hub.sent = [], 0
    assert download(url, target, PUBLISHED).read_bytes() == CONTENT
    assert hub.sent == 200_000


def test_a_server_that_cannot_go_on_begins_anew(hub, url, tmp_path):
    hub.ranges, hub.cuts = False, [100_000]
    assert download(url, tmp_path / "model.pth", PUBLISHED).read_bytes() == CONTENT


def test_what_is_left_of_another_version_is_not_mixed_with_this_one(url, tmp_path):
    (tmp_path / ".model.pth.incomplete").write_bytes(b"another version")
    assert download(url, tmp_path / "model.pth", PUBLISHED).read_bytes() == CONTENT


def test_what_is_left_and_longer_than_the_file_is_begun_anew(url, tmp_path):
    (tmp_path / ".model.pth.incomplete").write_bytes(CONTENT + b"!")
    assert download(url, tmp_path / "model.pth", None).read_bytes() == CONTENT


def test_another_file_than_the_published_one_leaves_nothing(hub, url, tmp_path):
    hub.altered["model.pth"] = CONTENT[::-1]
    with pytest.raises(HubError, match=f"not the published file: its sha256 must begin with {PUBLISHED.digits}"):
        download(url, tmp_path / "model.pth", PUBLISHED)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [299_999, 300_001])
def test_a_file_of_another_size_than_published_is_not_begun(url, tmp_path, size):
    with pytest.raises(HubError, match=f"is 300000 bytes long, and {size} were published"):
        download(url, tmp_path / "model.pth", PUBLISHED, size=size)
    assert os.listdir(tmp_path) == []


def test_a_disk_without_room_is_noticed_before(url, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: type("", (), {"free": 1 << 17}))
    with pytest.raises(HubError, match="has 0 MB left"):
        download(url, tmp_path / "model.pth", PUBLISHED)
    assert os.listdir(tmp_path) == []


def test_an_overloaded_server_is_asked_again(hub, url, tmp_path):
    hub.status = 503
    with pytest.raises(HubError, match="HTTP Error 503"):
        download(url, tmp_path / "model.pth", PUBLISHED)
    assert len(hub.requests) == 3


def test_a_file_that_is_not_there_is_asked_for_once(hub, url, tmp_path):
    with pytest.raises(HubError, match="HTTP Error 404"):
        download(f"{url}.zip", tmp_path / "model.pth", PUBLISHED)
    assert len(hub.requests) == 1 and os.listdir(tmp_path) == []


def test_two_processes_download_a_file_once(hub, url, tmp_path):
    hub.pause = 0.3
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        paths = pool.starmap(download, [(url, tmp_path / "model.pth", PUBLISHED)] * 2)
    assert [path.read_bytes() for path in paths] == [CONTENT] * 2
    assert hub.sent == len(CONTENT)


@pytest.mark.parametrize("same_host", [True, False])
def test_secrets_are_not_carried_to_another_server(hub, url, tmp_path, same_host):
    secrets = {"Authorization": "Bearer secret", "Cookie": "m_session_id=secret"}
    with serving(Hub({}, points_to=url)) as first:
        if same_host:
            hub.models["files"]["further"], hub.moved = CONTENT, {"further": url}
        address = f"{hub.url}/files/further" if same_host else f"{first.url}/files/model.pth"
        download(address, tmp_path / "model.pth", PUBLISHED, headers=secrets)
    assert ("secret" in str(hub.headers[-1])) == same_host


@pytest.mark.parametrize("scheme", ["file:///etc/hostname", "ftp://127.0.0.1:1/model.pth"])
def test_a_server_points_to_http_alone(tmp_path, scheme):
    with serving(Hub({}, points_to=scheme)) as hub, pytest.raises(HubError, match="cannot be fetched"):
        download(f"{hub.url}/files/model.pth", tmp_path / "model.pth", PUBLISHED)
    assert os.listdir(tmp_path) == []


def test_an_encrypted_server_does_not_lead_to_one_that_is_not():
    request = urllib.request.Request("https://hub.example/model.pth")
    answer = (None, 302, "Found", {})
    redirects = transfer._Redirects()
    assert redirects.redirect_request(request, *answer, "https://storage.example/1").host == "storage.example"
    with pytest.raises(OSError, match="which is not https"):
        redirects.redirect_request(request, *answer, "http://storage.example/1")


@pytest.mark.parametrize("answer", [b"<html>", b"[" * 100_000, b"\xff"], ids=["HTML", "too deep", "not UTF-8"])
def test_an_answer_that_is_no_json_is_one_sentence(hub, answer):
    hub.models["files"]["listing"] = answer
    with pytest.raises(HubError, match="did not answer with JSON"):
        read_json(f"{hub.url}/files/listing")


def test_checksums_are_those_that_publishers_give(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"what is up, doc?")
    assert Checksum("git", "bd9dbf5aae1a3862dd1526723246b20206e5fc37").fits(path)  # of the Git book
    assert Checksum("md5", hashlib.md5(b"what is up, doc?").hexdigest()[:6]).fits(path)
    assert not Checksum("sha256", "000000").fits(path)


# --------------------------------------------------------------------------------------------------------------- links


@pytest.fixture
def link(url, monkeypatch, tmp_path):
    monkeypatch.setenv("MS_SEG_CACHE", str(tmp_path))
    return Address("https", url, file="model.pth", checksum=Checksum("sha256", sha256(CONTENT)))


def test_a_link_is_followed_once(hub, link):
    assert fetch(link).read_bytes() == CONTENT
    assert fetch(link).name == "model.pth"
    assert len(hub.requests) == 1


def test_without_a_network_a_link_says_where_the_file_can_be_put(link, tmp_path):
    unreachable = Address("https", "http://127.0.0.1:1/model.pth", file="model.pth", checksum=link.checksum)
    with pytest.raises(HubError, match="cannot be fetched.*pass the file as --checkpoint, or put it into") as raised:
        fetch(unreachable)
    (folder := type(tmp_path)(str(raised.value).rpartition(" ")[2])).mkdir(parents=True, exist_ok=True)
    (folder / "model.pth").write_bytes(CONTENT)
    assert fetch(unreachable) == folder / "model.pth"

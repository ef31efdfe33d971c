"""Local servers that speak the hubs' protocols, with what can go wrong in them."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ms_seg.hub import transfer


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Hub:
    """Models by their ids, each a table of files; a change of a field changes what is answered from then on.

    cuts: after so many bytes of an answer the connection is closed, once for each number. altered: what is sent instead
    of a file, under its published checksum. status: answered to everything instead, if not 0; error_code is
    Hugging Face's name for why. token: what a request must come with, if not empty. ranges: whether they are honoured.
    points_to: another address, for everything; moved: for single files. pause: seconds before a file is sent.
    requests, headers: what was asked for, "METHOD path", and with what. sent: bytes of files.
    commit: of Hugging Face's branch. listing: if it is not to be that of the files. longest: how many files
    ModelScope's has of all folders, if not 0.
    """

    models: dict[str, dict[str, bytes]]
    cuts: list[int] = field(default_factory=list)
    altered: dict[str, bytes] = field(default_factory=dict)
    status: int = 0
    error_code: str = ""
    token: str = ""
    ranges: bool = True
    points_to: str = ""
    moved: dict[str, str] = field(default_factory=dict)
    pause: float = 0
    requests: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    sent: int = 0
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    listing: object = None
    longest: int = 0
    url: str = ""

    @property
    def files(self) -> list[str]:
        """Names of the files whose bytes were asked for, in their order."""
        gets = [urllib.parse.urlsplit(line[4:]) for line in self.requests if line.startswith("GET ")]
        named = [urllib.parse.parse_qs(parts.query).get("FilePath", [parts.path])[0] for parts in gets]
        return [name.rpartition("/")[2] for name, parts in zip(named, gets, strict=True) if self.gives(parts)]

    def gives(self, parts: urllib.parse.SplitResult) -> bool:
        return "/resolve/" in parts.path or "FilePath=" in parts.query


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub on a port of this machine, while the block runs."""
    failures: list[BaseException | None] = []

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_):
            failures.append(sys.exc_info()[1])

    server = Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
    assert failures == []


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        self.hub.requests.append(f"{self.command} {self.path}")
        self.hub.headers.append(self.headers)
        if self.hub.points_to:
            return self.redirect(self.hub.points_to)
        if self.hub.status or (self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}"):
            return self.refuse(self.hub.status or 401, self.hub.error_code)
        parts = urllib.parse.urlsplit(self.path)
        path, query = urllib.parse.unquote(parts.path), urllib.parse.parse_qs(parts.query)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
            return self.huggingface_listing(found[1])
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.file(self.hub.models.get(found[1], {}), found[3])
        if found := re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/repo/files", path):
            return self.modelscope_listing(found[1], query["Recursive"] == ["True"])
        if found := re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/repo", path):
            return self.file(self.hub.models.get(found[1], {}), query["FilePath"][0])
        if found := re.fullmatch(r"/files/(.+)", path):
            return self.file(self.hub.models["files"], found[1])
        return self.refuse(404)

    def huggingface_listing(self, id_: str):
        if self.hub.listing is not None:
            return self.json(self.hub.listing)
        if id_ not in self.hub.models:
            return self.refuse(404, "RepoNotFound")
        siblings = []
        for name, content in self.hub.models[id_].items():
            entry = {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
            if not name.endswith((".json", ".py")):
                entry["lfs"] = {"sha256": sha256(content), "size": len(content), "pointerSize": 134}
            siblings.append(entry)
        return self.json({"id": id_, "modelId": id_, "sha": self.hub.commit, "siblings": siblings})

    def modelscope_listing(self, id_: str, recursive: bool):
        if self.hub.listing is not None:
            return self.json(self.hub.listing)
        if id_ not in self.hub.models:
            return self.refuse(404)
        files = [
            {"Path": name, "Type": "blob", "Size": len(content), "Sha256": sha256(content)}
            for name, content in self.hub.models[id_].items()
            if recursive or "/" not in name
        ][: recursive and self.hub.longest or None]
        folder = {"Path": "description", "Type": "tree", "Size": 0, "Sha256": ""}
        return self.json({"Code": 200, "Data": {"Files": [folder, *files]}, "Message": "", "Success": True})

    def file(self, files: dict[str, bytes], name: str):
        if name not in files:
            return self.refuse(404, "EntryNotFound")
        if name in self.hub.moved:
            return self.redirect(self.hub.moved[name])
        content = self.hub.altered.get(name, files[name])
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if self.hub.ranges else None
        begin = int(found[1]) if found else 0
        if found and begin >= len(content):
            return self.refuse(416)
        self.send_response(206 if found else 200)
        if found:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.send_header("X-Repo-Commit", self.hub.commit)
        self.send_header("ETag", f'"{git_sha1(content) if name.endswith((".json", ".py")) else sha256(files[name])}"')
        self.end_headers()
        if self.command == "GET":
            cut = self.hub.cuts.pop(0) if self.hub.cuts else len(content)
            time.sleep(self.hub.pause)
            self.wfile.write(content[begin : begin + cut])
            self.hub.sent += len(content[begin : begin + cut])
        return None

    def json(self, answer: object):
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def redirect(self, url: str):
        self.send_response(302)
        self.send_header("Location", url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def refuse(self, status: int, code: str = ""):
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def ask_huggingface(monkeypatch, url: str, cache: Path) -> None:
    """Let huggingface_hub, which reads its variables when it is imported, ask this server."""
    from huggingface_hub import constants, file_download

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)  # it keeps nothing less of what is interrupted
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def ask_modelscope(monkeypatch, url: str, cache: Path) -> None:
    """Let ms_seg ask this server for ModelScope's models."""
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", url)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(cache))
    monkeypatch.delenv("MODELSCOPE_API_TOKEN", raising=False)
    monkeypatch.setattr(transfer, "_PAUSE", 0)

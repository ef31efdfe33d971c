"""ModelScope, by two requests of its HTTP interface and a checksum.

Its own clients are not used. `modelscope` brings thirty megabytes, of which a download needs one file, and
`modelscope-hub` a compiled cryptography library, for what are a listing and a file; the second is younger than a year,
and both keep notes in pickles beside what they download. Their folders are used where the files are there already, and
ours are theirs: what is fetched here, they find.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ms_seg.hub.address import Address, other_owner
from ms_seg.hub.needed import BESIDE, MAX_BESIDE, is_index, parts_of, weights_in, weights_of
from ms_seg.hub.transfer import FORBIDDEN, OUTAGE, Checksum, HubError, download, read_json

ENDPOINTS = ("https://modelscope.cn", "https://www.modelscope.ai")  # the second has models that the first has not
REVISION = "master"
_ABSENT = 404
_MAX_LISTED = 3000  # files: of longer listings the hub leaves the rest away, and does not say so
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class _Listed:
    """A file of a listing; of small ones the hub may not say the checksum."""

    size: int
    checksum: Checksum | None

    @classmethod
    def of(cls, entry: Any) -> _Listed:
        """Raises ValueError, KeyError or TypeError for what is no file."""
        size, digits = entry["Size"], entry.get("Sha256") or ""
        if type(size) is not int or size < 0:
            raise ValueError(f"a size of {size}")
        if digits and not _SHA256.fullmatch(digits):
            raise ValueError(f"a SHA-256 of {digits}")
        return cls(size, Checksum("sha256", digits) if digits else None)

    def is_at(self, path: Path) -> bool:
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        return self.checksum is None or self.checksum.fits(path)


def fetch(address: Address) -> Path:
    """The file of the weights, or the index of those that they are in, in the folder of the model's files.

    Raises HubError where the hub does not give them, and they were not fetched before.
    """
    revision = address.revision or REVISION
    try:
        endpoint, address, listed = _listing(address, revision)
    except HubError as error:
        if 0 < error.status < OUTAGE or error.status < 0:
            raise
        return _kept(address, revision, error)
    # What the table of models says of a file's name was said by others: the hub knows better.
    file = address.file if address.model == "auto" or address.file in listed else ""
    weights = weights_of(listed, str(address), file)
    folders = _folders(address.id, revision)
    folder = next((folder for folder in folders if listed[weights].is_at(folder / weights)), folders[0])

    def get(name: str) -> Path:
        return _get(endpoint, address, revision, listed[name], folder / name)

    path = get(weights)
    for name in parts_of(path, listed, str(address)) if is_index(weights) else ():
        get(name)
    for name in BESIDE:
        if name in listed:
            get(name)
    return path


def _listing(address: Address, revision: str) -> tuple[str, Address, dict[str, _Listed]]:
    """The server that has a model, the address under which it is there, for its owner may have two names, and its files
    by their names. Raises HubError with the first server's reason where none has it."""
    refused: HubError | None = None
    for endpoint in _endpoints():
        for id_ in filter(None, (address.id, other_owner(address.id))):
            try:
                return endpoint, replace(address, id=id_), _files(endpoint, replace(address, id=id_), revision)
            except HubError as error:
                refused = refused or error
                if error.status != _ABSENT:
                    break
    assert refused is not None
    raise HubError(_refusal(address, refused), refused.status, refused.reason)


def _files(endpoint: str, address: Address, revision: str) -> dict[str, _Listed]:
    answer = _ask(endpoint, address.id, revision, "True")
    try:
        if len(answer["Data"]["Files"]) >= _MAX_LISTED:  # what is needed is not in folders
            answer = _ask(endpoint, address.id, revision, "False")
        files = [entry for entry in answer["Data"]["Files"] if entry["Type"] != "tree"]
        return {str(entry["Path"]): _Listed.of(entry) for entry in files}
    except (AttributeError, KeyError, TypeError, ValueError):
        said = answer.get("Message") if isinstance(answer, dict) else None
        raise HubError(
            f"{address}: {_url(endpoint, address.id)} gives no list of its files ({str(said)[:200]})"
        ) from None


def _ask(endpoint: str, id_: str, revision: str, recursive: str) -> Any:
    query = urllib.parse.urlencode({"Revision": revision, "Recursive": recursive})
    return read_json(f"{_url(endpoint, id_)}/repo/files?{query}", _headers())


def _get(endpoint: str, address: Address, revision: str, listed: _Listed, target: Path) -> Path:
    """One file, unless it is there already."""
    if listed.is_at(target):
        return target
    if target.name in BESIDE and listed.size > MAX_BESIDE:
        raise HubError(f"{target.name} of {address} has {listed.size} bytes, {MAX_BESIDE} at most were expected")
    url = _file_url(endpoint, address.id, revision, target.name)
    try:
        return download(url, target, listed.checksum, size=listed.size, headers=_headers())
    except HubError as error:
        raise HubError(f"{target.name} of {address}: {error}", error.status) from None


def _kept(address: Address, revision: str, error: HubError) -> Path:
    """The weights as they were fetched before, for want of a network."""
    for id_ in filter(None, (address.id, other_owner(address.id))):
        for folder in filter(Path.is_dir, _folders(id_, revision)):
            named = address.model == "auto" or (folder / address.file).is_file()
            try:
                return weights_in(folder, address.file if named else "")
            except HubError:
                continue
    file = address.file or "pytorch_model.pt"
    raise HubError(
        f"{address} is not in {cache_folder()}, and {_endpoints()[0]} cannot be reached ({error.reason}): get {file} "
        f"from {_file_url(_endpoints()[0], address.id, revision, file)}, and configuration.json if it is there, put "
        "them into a folder, and pass that as --checkpoint",
        0,
    )


def _folders(id_: str, revision: str) -> list[Path]:
    """Where ModelScope's clients keep a model: the present layout, and those before version 1.38."""
    owner, _, name = id_.partition("/")
    former = f"{owner}/{name.replace('.', '___')}"
    root = cache_folder()
    present = root / "models" / f"{owner}--{name}" / "snapshots" / revision.replace("/", "--")
    return [present, *(root / folder / former for folder in ("hub/models", "models", "hub", ""))]


def cache_folder() -> Path:
    """Where ModelScope's clients keep what they download."""
    return Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache" / "modelscope")


def _endpoints() -> tuple[str, ...]:
    """The servers: the one that a person names, with or without the scheme, or ModelScope's own."""
    named = os.environ.get("MODELSCOPE_ENDPOINT", "").rstrip("/")
    if not named:
        return ENDPOINTS
    return (named if "://" in named else f"https://{named}",)


def _url(endpoint: str, id_: str) -> str:
    return f"{endpoint}/api/v1/models/{id_}"


def _file_url(endpoint: str, id_: str, revision: str, name: str) -> str:
    return f"{_url(endpoint, id_)}/repo?{urllib.parse.urlencode({'Revision': revision, 'FilePath': name})}"


def _headers() -> Mapping[str, str]:
    token = os.environ.get("MODELSCOPE_API_TOKEN", "")
    return {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"} if token else {}


def _refusal(address: Address, error: HubError) -> str:
    page = f"{_endpoints()[0]}/models/{address.id}"
    if error.status == _ABSENT:
        return f"there is no {address}: look at {page}"
    if error.status in FORBIDDEN:
        return f"{address} is not public: look at {page}, and set MODELSCOPE_API_TOKEN to a token that may read it"
    return str(error)

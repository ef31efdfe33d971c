"""The names that a hub's models go by."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, replace
from typing import Literal

from convert.reading.folder import ENDINGS
from ms_seg.hub.transfer import Checksum
from ms_seg.presets import PRESETS, STARTING_WEIGHTS, Published

_PREFIXES: dict[str, Literal["huggingface", "modelscope"]] = {"hf": "huggingface", "ms": "modelscope"}
_PART = r"[A-Za-z0-9][\w.-]*"
_NAMED = re.compile(rf"(?P<id>{_PART}/{_PART})(?:@(?P<revision>[A-Za-z0-9][\w./-]*?))?(?:/(?P<file>{_PART}))?")
_CHECKSUM = re.compile(r"(?P<algorithm>sha256|md5)=(?P<digits>[0-9a-f]{6,64})")
# A model's page in a browser, or one of its files there.
_PAGES = {
    "huggingface.co": "hf", "hf.co": "hf", "modelscope.cn": "ms", "www.modelscope.cn": "ms", "modelscope.ai": "ms",
    "www.modelscope.ai": "ms",
}  # fmt: skip
_PAGE = re.compile(
    rf"/(?:models/)?(?P<id>{_PART}/{_PART})"
    rf"(?:/(?:resolve|blob|tree|raw|file/view)/(?P<revision>{_PART})(?:/(?P<file>{_PART}))?|/(?:summary|files))?/?"
)
_DRIVES = ("drive.google.com", "docs.google.com", "drive.usercontent.google.com")
_BY_BROWSER = "which asks before it gives large files: download it in a browser, and pass the file as --checkpoint"
_WHOLE = 64  # digits of a SHA-256
# Two owners of ModelScope have the same models.
_OWNERS = {"damo": "iic", "iic": "damo"}


@dataclass(frozen=True)
class Address:
    """Where a model is published.

    id: "owner/name" on a hub, or the whole https address. revision: a branch, tag or commit; "" for the hub's default.
    file: the one that holds the weights; "" where the hub's listing is to tell. checksum: of that file, where it is
    known from elsewhere. model: the preset's name, or "auto".
    """

    hub: Literal["huggingface", "modelscope", "https"]
    id: str
    revision: str = ""
    file: str = ""
    checksum: Checksum | None = None
    model: str = "auto"

    def __str__(self) -> str:
        return self.id if self.hub == "https" else f"{self.id} on {_TITLES[self.hub]}"


_TITLES = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}


def find_address(name: str) -> Address | None:
    """What a name means if it is a hub's; None if it is not, as a preset's is not, nor a file's.

    "hf:owner/name" and "ms:owner/name" are Hugging Face's and ModelScope's, with "@revision" and "/file" where those
    matter. "owner/name" alone is what a preset is published as there, or another model of the same publisher; a file's
    name alone is what a preset is published as elsewhere. "https://..." is a file, followed by "#sha256=" or "#md5="
    and the first six digits or more; the page of a model on one of the two hubs is that model.

    Raises ValueError for a name that begins like one of these and is none, and for an address without a checksum.
    """
    if name.startswith(("https://", "http://")):
        return _link(name)
    prefix, colon, rest = name.partition(":")
    if colon and prefix in _PREFIXES:
        found = _NAMED.fullmatch(rest)
        if not found:
            raise ValueError(f"{name} is no model's name: it must be {prefix}:owner/name, or {prefix}:owner/name/FILE")
        hub = _PREFIXES[prefix]
        revision, file = found["revision"] or "", found["file"] or ""
        known = _published().get(found["id"])
        if known is None or known.hub != hub or file:
            return Address(hub, found["id"], revision, file)
        return replace(known, revision=revision)
    return _published().get(name) or _of_a_publisher(name)


def address_of_model(name: str) -> Address | None:
    """The same of what is a model's name and no file's.

    Raises ValueError also for an "owner/name" that no preset is published as: it could be on either hub; and for a file
    that is published where a browser alone can fetch it.
    """
    address = find_address(name)
    for entry in (entry for preset in PRESETS.values() for entry in preset.published):
        if entry.hub == "google-drive" and entry.file == name:
            raise ValueError(f"{entry} is on Google Drive, {_BY_BROWSER}")
    if address is None and _NAMED.fullmatch(name):
        raise ValueError(
            f"no model known here is published as {name}: write hf:{name} for Hugging Face's or ms:{name} for "
            f"ModelScope's, or pass a file or folder as the checkpoint"
        )
    return address


def other_owner(id_: str) -> str:
    """The other name of a model of ModelScope's own; "" if it has none."""
    owner, _, name = id_.partition("/")
    return f"{_OWNERS[owner]}/{name}" if owner in _OWNERS else ""


def _published() -> dict[str, Address]:
    """What presets and starting weights are published as: ids on hubs, ModelScope's also under its other owner, and
    files elsewhere."""
    found: dict[str, Address] = {}
    models = [(preset.name, preset.published) for preset in PRESETS.values()]
    for model, published in [*models, *(("auto", weights.published) for weights in STARTING_WEIGHTS)]:
        for entry in published:
            if entry.hub == "huggingface" or entry.hub == "modelscope":
                address = Address(entry.hub, entry.id, file=entry.file, model=model)
                found[entry.id] = address
                if entry.hub == "modelscope" and (other := other_owner(entry.id)):
                    found[other] = replace(address, id=other)
            elif url := _url(entry):
                checksum = Checksum(*entry.checksum.split(":")) if entry.checksum else None
                found[entry.file] = Address("https", url, file=entry.file, checksum=checksum, model=model)
    return found


def _of_a_publisher(name: str) -> Address | None:
    """Another model of an owner whose models presets name, on the one hub where they are; None for what is none."""
    found = _NAMED.fullmatch(name)
    if not found or found["file"] or name.endswith(ENDINGS):
        return None
    owner = found["id"].partition("/")[0]
    hubs = {address.hub for id_, address in _published().items() if id_.partition("/")[0] == owner}
    hub = hubs.pop() if len(hubs) == 1 else "https"
    return None if hub == "https" else Address(hub, found["id"], found["revision"] or "")


def _url(entry: Published) -> str:
    """The address of a file that is on a plain server; "" where there is none."""
    if entry.hub == "openmmlab":
        return f"https://download.openmmlab.com/{entry.id}/{entry.file}"
    if entry.hub == "detectron2":
        return f"https://dl.fbaipublicfiles.com/maskformer/mask2former/{entry.id}/{entry.file}"
    if entry.hub == "openai":
        return f"https://openaipublic.azureedge.net/{entry.id}/{entry.file}"
    if entry.hub == "github":
        repository, _, tag = entry.id.rpartition("/")
        return f"https://github.com/{repository}/releases/download/{tag}/{entry.file}"
    return ""


def _link(name: str) -> Address | None:
    url, _, fragment = name.partition("#")
    parts = urllib.parse.urlsplit(url)
    host = (parts.hostname or "").lower()
    if host in _DRIVES:
        raise ValueError(f"{url} is on Google Drive, {_BY_BROWSER}")
    if host in _PAGES and not fragment and (found := _PAGE.fullmatch(parts.path)):
        at, file = (f"{sign}{found[key]}" if found[key] else "" for sign, key in (("@", "revision"), ("/", "file")))
        return find_address(f"{_PAGES[host]}:{found['id']}{at}{file}")
    file = urllib.parse.unquote(parts.path).rpartition("/")[2]
    if not parts.hostname or not re.fullmatch(_PART, file):
        raise ValueError(f"{name} is no address of a file")
    found = _CHECKSUM.fullmatch(fragment)
    if not found:
        raise ValueError(
            f"{url} must be followed by what its publisher says of it, #sha256= or #md5= and the first digits: "
            "without them nobody knows what arrives"
        )
    checksum = Checksum(found["algorithm"], found["digits"])
    if parts.scheme == "http" and (checksum.algorithm != "sha256" or len(checksum.digits) < _WHOLE):
        raise ValueError(f"{url} is not https: without it, a whole SHA-256 must follow, #sha256= and {_WHOLE} digits")
    return Address("https", url, file=file, checksum=checksum)

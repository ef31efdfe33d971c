"""The files of an address, wherever it is."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ms_seg.hub.address import Address, find_address
from ms_seg.hub.huggingface import fetch as fetch_from_huggingface
from ms_seg.hub.modelscope import fetch as fetch_from_modelscope
from ms_seg.hub.needed import BESIDE, weights_in
from ms_seg.hub.transfer import HubError, cache_folder, download


def fetch(address: Address) -> Path:
    """The folder of a model, or the file that holds its weights where nothing stands beside it that says more.

    Raises HubError, in one sentence, where it cannot be had; OSError where there is no room for it.
    """
    if address.hub == "https":
        return _fetch_link(address)
    path = fetch_from_huggingface(address) if address.hub == "huggingface" else fetch_from_modelscope(address)
    described = any((path.parent / name).is_file() for name in BESIDE)
    return path.parent if described and path == weights_in(path.parent) else path


def on_this_machine(model: str, checkpoint: str | os.PathLike[str]) -> tuple[str, str | os.PathLike[str]]:
    """A model's name and its checkpoint, which is downloaded if it is a hub's name; what is here goes before a hub's.

    "auto" becomes the model that the hub's name is known to be of. Raises as `find_address` and `fetch` do.
    """
    if os.path.exists(checkpoint) or not (address := find_address(os.fspath(checkpoint))):
        return model, checkpoint
    return address.model if model == "auto" else model, fetch(address)


def _fetch_link(address: Address) -> Path:
    """A plain address: into the cache, unless the file with this checksum is there."""
    folder = cache_folder() / "files" / hashlib.sha256(address.id.encode()).hexdigest()[:16]
    path = folder / address.file
    if path.is_file() and (address.checksum is None or address.checksum.fits(path)):
        return path
    try:
        return download(address.id, path, address.checksum)
    except HubError as error:
        hint = f": get it from there, and pass the file as --checkpoint, or put it into {folder}"
        raise HubError(f"{error}{'' if error.status else hint}", error.status) from None

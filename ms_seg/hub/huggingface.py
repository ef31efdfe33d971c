"""Hugging Face, by its own client: its cache, token, endpoint and offline mode are those of `huggingface_hub`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ms_seg.hub.address import Address
from ms_seg.hub.needed import BESIDE, MAX_BESIDE, is_index, parts_of, weights_in, weights_of
from ms_seg.hub.transfer import Checksum, HubError

_REVISION = "main"


def fetch(address: Address) -> Path:
    """The file of the weights, or the index of those that they are in, in the folder of the model's files.

    Raises HubError where the hub does not give them, and they were not fetched before.
    """
    import requests
    from huggingface_hub import HfApi

    revision = address.revision or _REVISION
    try:
        info = HfApi().model_info(address.id, revision=revision, files_metadata=True)
    except requests.HTTPError as error:  # the client's own errors of answers are such
        raise HubError(_refusal(address, error), _status(error)) from None
    except OSError as error:  # no network, or the client is told that there is none
        return _kept(address, revision, error)
    listed = {entry.rfilename: entry for entry in info.siblings or ()}
    weights = weights_of(listed, str(address), address.file)
    path = _get(address, revision, weights, listed)
    parts = parts_of(path, listed, str(address)) if is_index(weights) else ()
    for name in (*parts, *(name for name in BESIDE if name in listed)):
        _get(address, revision, name, listed)
    return path


def _get(address: Address, revision: str, name: str, listed: Mapping[str, Any]) -> Path:
    """One file, in the client's cache, checked against what the hub says of it."""
    import requests
    from huggingface_hub import hf_hub_download

    entry = listed[name]
    if name in BESIDE and (entry.size or 0) > MAX_BESIDE:
        raise HubError(f"{name} of {address} has {entry.size} bytes, {MAX_BESIDE} at most were expected")
    try:
        path = Path(hf_hub_download(address.id, name, revision=revision))
    except requests.HTTPError as error:
        raise HubError(_refusal(address, error, name), _status(error)) from None
    except OSError as error:
        raise HubError(f"{name} of {address} was not received: {_words(error)}", 0) from None
    # The client compares lengths alone.
    checksum = Checksum("sha256", entry.lfs.sha256) if entry.lfs else Checksum("git", entry.blob_id or "")
    if not checksum.fits(path):
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise HubError(
            f"{name} of {address} is not what the hub says that it is: its {checksum.algorithm} must be "
            f"{checksum.digits}; it was removed"
        )
    return path


def _kept(address: Address, revision: str, error: OSError) -> Path:
    """The weights as they were fetched before, for want of a network."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(address.id, revision=revision, local_files_only=True))
        return weights_in(folder, address.file)
    except (LocalEntryNotFoundError, HubError):
        names = address.file or ", ".join(("model.safetensors", *BESIDE[:2]))
        raise HubError(
            f"{address} is not in {constants.HF_HUB_CACHE}, and {constants.ENDPOINT} cannot be reached "
            f"({_words(error)}): get {names} from {constants.ENDPOINT}/{address.id}/resolve/{revision}/, put them into "
            "a folder, and pass that as --checkpoint",
            0,
        ) from None


def _refusal(address: Address, error: Any, name: str = "") -> str:
    """What the hub's own error means, in a sentence."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    page = f"{constants.ENDPOINT}/{address.id}"
    if isinstance(error, GatedRepoError):
        return f"{address} is given to those alone who accept its terms: do so at {page}, then log in (HF_TOKEN)"
    if isinstance(error, RepositoryNotFoundError):
        return f"there is no {address}, or it is private: look at {page}, and if it is there, log in (HF_TOKEN)"
    if isinstance(error, RevisionNotFoundError):
        return f"{address} has no revision {address.revision}: look at {page}"
    return f"{name or 'the listing'} of {address} cannot be fetched: {_words(error)}"


def _status(error: Any) -> int:
    return -1 if error.response is None else error.response.status_code


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

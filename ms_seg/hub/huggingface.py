"""Hugging Face, by its own client: its cache, token, endpoint and offline mode are those of `huggingface_hub`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ms_seg.hub.address import Address
from ms_seg.hub.needed import BESIDE, MAX_BESIDE, is_index, parts_of, weights_in, weights_of
from ms_seg.hub.transfer import FORBIDDEN, OUTAGE, Checksum, HubError, reason_of

_REVISION = "main"
_ATTEMPTS = 5


def fetch(address: Address) -> Path:
    """The file of the weights, or the index of those that they are in, in the folder of the model's files.

    Raises HubError where the hub does not give them, and they were not fetched before.
    """
    import requests
    from huggingface_hub import HfApi, constants

    revision = address.revision or _REVISION
    if constants.HF_HUB_OFFLINE:
        return _kept(address, revision, "HF_HUB_OFFLINE is set")
    try:
        info = HfApi().model_info(address.id, revision=revision, files_metadata=True)
    except requests.HTTPError as error:  # the client's own errors of answers are such
        if _status(error) >= OUTAGE:
            return _kept(address, revision, f"HTTP Error {_status(error)}")
        raise HubError(_refusal(address, error), _status(error)) from None
    except OSError as error:
        return _kept(address, revision, reason_of(error))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise HubError(f"{address}: {constants.ENDPOINT} gives no list of its files") from None
    listed = {str(entry.rfilename): entry for entry in info.siblings or ()}
    weights = weights_of(listed, str(address), address.file)
    path = _get(address, revision, weights, listed)
    parts = parts_of(path, listed, str(address)) if is_index(weights) else ()
    for name in (*parts, *(name for name in BESIDE if name in listed)):
        _get(address, revision, name, listed)
    return path


def _get(address: Address, revision: str, name: str, listed: Mapping[str, Any]) -> Path:
    """One file, in the client's cache, checked against what the hub says of it."""
    entry = listed[name]
    if name in BESIDE and (entry.size or 0) > MAX_BESIDE:
        raise HubError(f"{name} of {address} has {entry.size} bytes, {MAX_BESIDE} at most were expected")
    path = _download(address, revision, name)
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


def _download(address: Address, revision: str, name: str) -> Path:
    """One file by the client, which goes on after an interruption when it is called again."""
    import requests
    from huggingface_hub import hf_hub_download

    for attempt in range(_ATTEMPTS):
        try:
            return Path(hf_hub_download(address.id, name, revision=revision))
        except requests.HTTPError as error:
            raise HubError(_refusal(address, error, name), _status(error)) from None
        except requests.RequestException as error:
            if attempt == _ATTEMPTS - 1:
                raise HubError(f"{name} of {address} was not received: {reason_of(error)}", 0) from None
    raise AssertionError


def _kept(address: Address, revision: str, reason: str) -> Path:
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
            f"({reason}): get {names} from {constants.ENDPOINT}/{address.id}/resolve/{revision}/, put them into "
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
    if _status(error) in FORBIDDEN:
        return f"{address} is not given without a token that may read it: look at {page}, and log in (HF_TOKEN)"
    return f"{name or 'the listing'} of {address} cannot be fetched: {reason_of(error)}"


def _status(error: Any) -> int:
    return -1 if error.response is None else error.response.status_code

"""Download of one published file, kept only if its checksum is the published one."""

from __future__ import annotations

import hashlib
import http.client
import logging
import time
import urllib.request
from pathlib import Path

from convert.atomic import whole_file

_READ_TIMEOUT = 10  # seconds that a server may take for its next bytes


def download(url: str, target: Path, sha256: str, limit: int, seconds: float = 60) -> Path:
    """Fetch a file of at most `limit` bytes within `seconds` into `target`, which is returned.

    Raises ValueError when the server fails, is too slow, or sends anything but the file with this checksum; OSError
    when `target` cannot be written.
    """
    logging.getLogger("ms_seg").info("downloading %s to %s", url, target)
    content = _fetch(url, limit, seconds)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{url} gave {len(content)} bytes that are not the published file, or not all of it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as draft:
        draft.write_bytes(content)
    return target


def _fetch(url: str, limit: int, seconds: float) -> bytes:
    deadline, content = time.monotonic() + seconds, bytearray()
    try:
        with urllib.request.urlopen(url, timeout=min(seconds, _READ_TIMEOUT)) as response:
            while piece := response.read1(1 << 16):
                content += piece
                if len(content) > limit:
                    raise ValueError(f"{url} is larger than the {limit} bytes that were expected at most")
                if time.monotonic() > deadline:
                    raise ValueError(f"{url} was not received within {seconds:g} seconds")
    except (OSError, http.client.HTTPException) as error:  # OSError: of urllib, of the connection, a timeout
        reason = " ".join(str(error).split())[:200]  # a server's own words, among others
        raise ValueError(f"{url} cannot be fetched: {reason}") from error
    return bytes(content)

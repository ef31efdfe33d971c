"""Files over HTTP: resumed after an interruption, kept only if they are what was published."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from convert.progress import progress_bar

try:
    import fcntl
except ImportError:  # Windows: two processes that fetch one file at once then fetch it again
    fcntl = None  # type: ignore[assignment]

_TIMEOUT = 10  # seconds that a server may take to answer, and for its next bytes
FORBIDDEN = (401, 403)  # HTTP's statuses of what is given to some alone
OUTAGE = 500  # HTTP's status from which on it is the server that fails
_ATTEMPTS = 3  # that bring nothing new, before a server is given up
_PAUSE = 1.0  # seconds, twice that after the second such attempt
_PIECE = 1 << 20
_MAX_JSON = 16 << 20  # bytes: a listing of 10,000 files takes 4 MB
_SECRETS = ("Authorization", "Cookie")

_NOTHING: Mapping[str, str] = {}


class HubError(ValueError):
    """A hub that does not give what it is asked for.

    status: HTTP's, or 0 where there is no answer at all, and -1 where the answer is of no use. reason: why, in few
    words.
    """

    def __init__(self, sentence: str, status: int = -1, reason: str = ""):
        super().__init__(sentence)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Checksum:
    """What a publisher says of a file's bytes: "sha256" or "md5", or "git" for Git's SHA-1 of them, and the first
    digits, or all, in lower case.
    """

    algorithm: str
    digits: str

    def of(self, path: Path) -> str:
        """The file's own digits, of this algorithm, as many as there are."""
        digest = hashlib.new("sha1" if self.algorithm == "git" else self.algorithm, usedforsecurity=False)
        if self.algorithm == "git":
            digest.update(f"blob {path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
        return digest.hexdigest()

    def fits(self, path: Path) -> bool:
        """Whether the file is the published one."""
        return self.of(path).startswith(self.digits)


def download(
    url: str,
    target: Path,
    checksum: Checksum | None,
    *,
    size: int | None = None,
    limit: int = 1 << 40,
    seconds: float | None = None,
    headers: Mapping[str, str] = _NOTHING,
) -> Path:
    """Fetch a file into `target`, which is returned, and which appears only when it is whole.

    What an interruption left is kept beside it, under a name of its own, and the next call goes on from there.

    Args:
        checksum, size: as published; None where they are not.
        limit: bytes that it may have at most. seconds: how long it may take.
        headers: of the request. Those with secrets in them are not sent to another host that the server points to.

    Raises HubError when the server fails, is too slow, or sends anything but the published file; OSError when `target`
    cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.incomplete")
    with _alone(draft) as file:
        same_size = target.is_file() and size in (None, target.stat().st_size)
        if same_size and (checksum is None or checksum.fits(target)):  # another process was first
            draft.unlink()
            return target
        resumed = draft.stat().st_size > 0
        _fill(file, url, size, limit, seconds, headers)
        if resumed and checksum is not None and not checksum.fits(draft):  # of another version of the file
            _restart(file)
            _fill(file, url, size, limit, seconds, headers)
        found = draft.stat().st_size
        if checksum is not None and not checksum.fits(draft):
            draft.unlink()
            raise HubError(
                f"{url} gave {found} bytes that are not the published file: its {checksum.algorithm} must begin with "
                f"{checksum.digits}"
            )
        os.fsync(file.fileno())
        if fcntl is None:
            file.close()  # Windows renames no file that is open
        os.replace(draft, target)
    return target


def read_json(url: str, headers: Mapping[str, str] = _NOTHING) -> Any:
    """What a server answers, decoded. Raises HubError when it fails or answers anything but JSON."""
    try:
        return json.loads(read_bytes(url, _MAX_JSON, headers))
    except HubError:
        raise
    except (ValueError, RecursionError) as error:
        raise HubError(f"{url} did not answer with JSON ({error})") from None


def read_bytes(url: str, limit: int, headers: Mapping[str, str] = _NOTHING) -> bytes:
    """What a server answers. Raises HubError when it fails, or answers with more than `limit` bytes."""
    with _answered(url), _open(url, headers) as response:
        content: bytes = response.read(limit + 1)
    if len(content) > limit:
        raise HubError(f"{url} is larger than the {limit} bytes that were expected at most")
    return content


def cache_folder() -> Path:
    """Where downloaded files are kept that no hub has a place of its own for: $MS_SEG_CACHE, or ms_seg in the user's
    own cache.
    """
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ms_seg"
    return Path(os.environ.get("MS_SEG_CACHE") or own)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to another, but tells the other no secrets, and never from https to http."""

    def redirect_request(self, request: Any, *answer: Any) -> urllib.request.Request | None:
        further = super().redirect_request(request, *answer)
        if further is None:
            return None
        if request.type == "https" and further.type != "https":
            raise urllib.error.URLError(f"it points to {further.type}://{further.host}, which is not https")
        if further.host != request.host:
            for name in _SECRETS:
                further.remove_header(name)
        return further


def _open(url: str, headers: Mapping[str, str]) -> Any:
    opener = urllib.request.build_opener(_Redirects)
    return opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=_TIMEOUT)


@contextlib.contextmanager
def _answered(url: str) -> Iterator[None]:
    """Turn what can go wrong between here and a server into a HubError."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            reason = reason_of(error)
            raise HubError(f"{url} cannot be fetched: {reason}", error.code, reason) from None
    except (OSError, http.client.HTTPException) as error:  # OSError: of urllib, of the connection, a timeout
        reason = reason_of(error)
        raise HubError(f"{url} cannot be fetched: {reason}", 0, reason) from None


def reason_of(error: BaseException) -> str:
    """Why a request failed, in few words: of an error around another one, the innermost."""
    while not isinstance(error, urllib.error.HTTPError):
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    words = " ".join(str(error).split())  # a server's own words, among others
    return re.sub(r"^<?HTTPS?Connection.*?[)>]: ", "", words)[:200]


@contextlib.contextmanager
def _alone(draft: Path) -> Iterator[BinaryIO]:
    """The draft, open to be gone on with, while no other process writes it."""
    while True:
        with draft.open("ab") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                same = os.path.samestat(os.fstat(file.fileno()), draft.stat())
            except FileNotFoundError:  # another process has just made the file of it
                same = False
            if same:
                try:
                    yield file
                finally:
                    if draft.exists() and draft.stat().st_size == 0:
                        draft.unlink()
                return


def _fill(
    file: BinaryIO, url: str, size: int | None, limit: int, seconds: float | None, headers: Mapping[str, str]
) -> None:
    """Append what is still missing, over as many connections as it takes while each brings something."""
    deadline = None if seconds is None else time.monotonic() + seconds
    fruitless = 0
    while True:
        before = file.tell()
        try:
            with _answered(url):
                _append(file, url, size, limit, deadline, headers)
            return
        except HubError as error:
            if error.status == 416 and before:  # more is there than the server has
                _restart(file)
                continue
            again = error.status == 0 or error.status == 429 or error.status >= OUTAGE
            brought = file.tell() > before
            fruitless = 0 if brought else fruitless + 1
            if not again or fruitless >= _ATTEMPTS or (before == 0 and not brought and error.status == 0):
                raise
        time.sleep(_PAUSE * fruitless)


def _append(
    file: BinaryIO, url: str, size: int | None, limit: int, deadline: float | None, headers: Mapping[str, str]
) -> None:
    """Append over one connection. Raises OSError where it ends too early."""
    begin = file.tell()
    if size is not None and begin == size:
        return
    with _open(url, {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={begin}-"} if begin else {})}) as r:
        if begin and not (r.status == 206 and r.headers.get("Content-Range", "").startswith(f"bytes {begin}-")):
            _restart(file)  # it does not go on, but begins anew
            begin = 0
        length = r.headers.get("Content-Length", "")
        promised = begin + int(length) if length.isdecimal() else None
        total = size if size is not None else promised
        if max(total or 0, promised or 0) > limit:
            raise HubError(f"{url} is larger than the {limit} bytes that were expected at most")
        if promised is not None and promised != total:
            raise HubError(f"{url} is {promised} bytes long, and {total} were published")
        _check_room(Path(file.name), (total or 0) - begin)
        with progress_bar(total or 0, f"downloading {_name(url)}", done=begin) as bar:
            while piece := r.read1(_PIECE):
                file.write(piece)
                file.flush()
                bar(len(piece))
                if file.tell() > (limit if total is None else total):
                    raise HubError(f"{url} is larger than the {total or limit} bytes that were expected at most")
                if deadline is not None and time.monotonic() > deadline:
                    raise HubError(f"{url} was not received in time")
    if total is not None and file.tell() < total:
        raise ConnectionError(f"{file.tell()} of {total} bytes came")


def _restart(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _check_room(draft: Path, needed: int) -> None:
    free = shutil.disk_usage(draft.parent).free
    if needed > free:
        raise HubError(f"{draft.parent} has {free >> 20} MB left, and {needed >> 20} MB are to be downloaded into it")


def _name(url: str) -> str:
    """A file's name from its address, for a progress bar."""
    parts = urllib.parse.urlsplit(url)
    asked = urllib.parse.parse_qs(parts.query).get("FilePath")
    return (asked[0] if asked else urllib.parse.unquote(parts.path)).rpartition("/")[2]

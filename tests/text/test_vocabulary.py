"""Where a vocabulary is looked for, how it is downloaded, and files that are none."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ms_seg.hub import transfer
from ms_seg.text import Tokenizer, vocabulary
from ms_seg.text.vocabulary import FILE, VARIABLE, find_vocabulary, read_vocabulary
from tests.text.small_vocabulary import merge, write_merges

CONTENT = gzip.compress(b"#version: 0.2\na t</w>\nc at</w>\n")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing set, nothing kept."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("MS_SEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(folder: Path, name: str = FILE, content: bytes = CONTENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def put_transformers(folder: Path) -> Path:
    ids = read_vocabulary(put(folder, "merges.txt", gzip.decompress(CONTENT))).ids
    put(folder, "vocab.json", json.dumps(ids).encode())
    return folder


# ---------------------------------------------------------------------------------------------------------------- order


def test_places_are_searched_in_their_order(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    given, checkpoint = put(tmp_path, "given.txt"), tmp_path / "model" / "weights.bin"
    kept, named, beside = put(cache), put(tmp_path / "named"), put(checkpoint.parent)
    monkeypatch.setenv(VARIABLE, str(named))
    assert find_vocabulary(given, checkpoint, urls=()) == given
    assert find_vocabulary(None, checkpoint, urls=()) == beside
    beside.unlink()
    embedded = put(tmp_path / "embedded")
    assert find_vocabulary(None, checkpoint, embedded.with_name("tiny.ckpt"), urls=()) == embedded
    assert find_vocabulary(None, checkpoint, urls=()) == named
    monkeypatch.delenv(VARIABLE)
    assert find_vocabulary(None, checkpoint, urls=()) == kept
    kept.unlink()
    with pytest.raises(ValueError, match="not on this machine"):
        find_vocabulary(None, checkpoint, urls=())


def test_a_folder_is_searched_for_either_kind_of_file(tmp_path: Path):
    folder = put_transformers(tmp_path / "model")
    assert find_vocabulary(folder) == folder
    plain = put(folder, FILE.removesuffix(".gz"))
    assert find_vocabulary(folder) == plain
    packed = put(folder)
    assert find_vocabulary(folder) == packed
    assert find_vocabulary(checkpoint=folder) == packed  # a checkpoint in parts is a folder itself


def test_one_of_transformers_files_alone_is_no_vocabulary(tmp_path: Path):
    put_transformers(tmp_path / "model")
    (tmp_path / "model" / "vocab.json").unlink()
    with pytest.raises(ValueError, match="a folder without"):
        find_vocabulary(tmp_path / "model")


@pytest.mark.parametrize("variable", [False, True])
def test_a_path_to_nothing_is_not_passed_over(tmp_path: Path, cache: Path, variable: bool, monkeypatch):
    put(cache)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=f"^{VARIABLE if variable else '/'}.*nowhere, which is no file and no folder$"):
        find_vocabulary(None if variable else tmp_path / "nowhere")


def test_a_tokenizer_looks_for_its_vocabulary_itself(cache: Path):
    put(cache)
    assert Tokenizer().encode("cat") == [merge(1)]


# ------------------------------------------------------------------------------------------------------------- download


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """serve(answer) -> an address where `answer` is called with each request's handler."""
    monkeypatch.setattr(transfer, "_PAUSE", 0)
    monkeypatch.setattr(vocabulary, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    servers, failures = [], []

    def start(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                answer(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                failures.append(sys.exc_info()[1])

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/{FILE}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
    assert failures == []  # of the servers themselves, which would print them into the log


def sends(content: bytes, length: int | None = None) -> Callable:
    """An answer of these bytes, with a header that promises `length` of them."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def drips(handler: http.server.BaseHTTPRequestHandler) -> None:
    """A byte every millisecond, ten thousand of them, or until nobody listens any more."""
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(ConnectionError):
        for _ in range(10_000):
            handler.wfile.write(b"x")
            time.sleep(0.001)


def test_the_file_is_downloaded_once_and_kept(cache: Path, serve: Callable):
    asked = []
    url = serve(lambda handler: (asked.append(handler.path), sends(CONTENT)(handler)))
    for _ in range(2):
        path = find_vocabulary(urls=[url])
        assert path == cache / FILE and path.read_bytes() == CONTENT
    assert asked == [f"/{FILE}"]


def test_the_next_address_is_tried_when_one_fails(serve: Callable):
    missing = serve(lambda handler: handler.send_error(404))
    assert find_vocabulary(urls=[missing, serve(sends(CONTENT))]).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (sends(CONTENT[:-20], length=len(CONTENT)), r"of \d+ bytes came"),
        (sends(CONTENT[:-1] + b"!"), "not the published file"),
        (sends(b""), "gave 0 bytes"),
        (sends(bytes(5000)), "larger than the 4000 bytes"),
        (lambda handler: handler.send_error(404), "HTTP Error 404"),
        (lambda handler: handler.wfile.write(b"non\rsense\r\n\r\n"), "cannot be fetched: non sense"),
        (lambda handler: None, "cannot be fetched"),
    ],
    ids=["cut off", "altered", "empty", "too large", "not there", "not HTTP", "silent"],
)
def test_a_failed_download_leaves_nothing_and_says_how_to_get_the_file(cache, serve, answer, reason, monkeypatch):
    monkeypatch.setattr(vocabulary, "_MAX_BYTES", 4000)
    with pytest.raises(ValueError, match=reason) as raised:
        find_vocabulary(urls=[serve(answer)])
    assert "\n" not in str(raised.value)
    assert all(hint in str(raised.value) for hint in ("openai/CLIP", "--vocab", VARIABLE, str(cache)))
    assert not (cache / FILE).exists()
    assert not [path for path in cache.iterdir() if "cannot be fetched" not in str(raised.value)]


# -------------------------------------------------------------------------------------------------------------- content


def test_packed_plain_and_transformers_files_say_the_same(tmp_path: Path):
    packed, plain = put(tmp_path), put(tmp_path, "plain.txt", gzip.decompress(CONTENT))
    windows = put(tmp_path, "windows.txt", gzip.decompress(CONTENT).replace(b"\n", b"\r\n"))
    folder = put_transformers(tmp_path / "folder")
    first, *others = (read_vocabulary(path) for path in (packed, plain, windows, folder))
    assert first.merges == (("a", "t</w>"), ("c", "at</w>"))
    assert others == [first] * 3


def test_symbols_are_numbered_bytes_then_merges_then_marks(tmp_path: Path):
    ids = read_vocabulary(put(tmp_path)).ids
    assert sorted(ids.values()) == list(range(516))
    numbers = {
        "<|startoftext|>": 514,
        "<|endoftext|>": 515,
        "!": 0,
        "~": 93,
        "¡": 94,
        "ÿ": 187,
        "Ā": 188,
        "Ń": 255,
        "!</w>": 256,
        "at</w>": 512,
        "cat</w>": 513,
    }
    assert {symbol: ids[symbol] for symbol in numbers} == numbers


def test_lines_beyond_clips_own_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_merges(tmp_path / "merges.txt", "a b", "c d", "never read")
    monkeypatch.setattr(vocabulary, "MERGES", 2)
    assert read_vocabulary(path).merges == (("a", "b"), ("c", "d"))


def test_a_list_without_merges_is_a_vocabulary_of_bytes(tmp_path: Path):
    read = read_vocabulary(write_merges(tmp_path / "merges.txt"))
    assert read.merges == () and len(read.ids) == 2 * 256 + 2 and read.ids["<|endoftext|>"] == 513


HOSTILE = {
    "no gzip": ("bad.gz", b"#version: 0.2\na b\n", "not a gzip file"),
    "half a gzip": ("bad.gz", CONTENT[:-12], "is damaged"),
    "damaged gzip": ("bad.gz", CONTENT[:12] + b"\xff\xff" + CONTENT[14:], "is damaged"),
    "bomb": ("bad.gz", gzip.compress(bytes(64 << 20)), "holds more than 16 MB"),
    "too large": ("bad.txt", b"#version\n" + bytes(17 << 20), "holds more than 16 MB"),
    "not UTF-8": ("bad.txt", b"#version\n\xff\xfe a\n", "not text in UTF-8"),
    "empty": ("bad.txt", b"", "does not begin with"),
    "another text": ("bad.txt", b"It was the best of times\n", "does not begin with"),
    "one column": ("bad.txt", b"#version\na b\nab\n", "line 3: 'ab' is not a pair"),
    "three columns": ("bad.txt", b"#version\na b c\n", "line 2: 'a b c' is not a pair"),
    "an empty line": ("bad.txt", b"#version\na b\n\na c\n", "line 3: '' is not a pair"),
    "symbols nobody made": ("bad.txt", b"#version\nan apple\n", "line 2: 'an apple' is not a pair"),
    "a symbol nobody made": ("bad.txt", b"#version\na b\nab cd\n", "line 3: 'ab cd' is not a pair"),
    "a long line": ("bad.txt", b"#version\n" + b"a" * 100_000, f"line 2: '{'a' * 40}' is not a pair"),
}


@pytest.mark.parametrize(("name", "content", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_is_no_vocabulary_gets_one_sentence(tmp_path: Path, name: str, content: bytes, sentence: str):
    with pytest.raises(ValueError, match=sentence) as raised:
        Tokenizer(put(tmp_path, name, content))
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"a": 0, "b": 1}', "of another model"),
        (b"[1, 2", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "of another model"),
        (b"\xff", "not text in UTF-8"),
    ],
    ids=["other numbers", "cut off", "too deep", "a list", "not UTF-8"],
)
def test_numbers_that_disagree_with_the_merges_are_refused(tmp_path: Path, content: bytes, sentence: str):
    put(put_transformers(tmp_path), "vocab.json", content)
    with pytest.raises(ValueError, match=sentence):
        Tokenizer(tmp_path)


def test_a_number_that_is_off_by_one_is_noticed(tmp_path: Path):
    ids = json.loads((put_transformers(tmp_path) / "vocab.json").read_text())
    ids["at</w>"], ids["cat</w>"] = ids["cat</w>"], ids["at</w>"]
    put(tmp_path, "vocab.json", json.dumps(ids).encode())
    with pytest.raises(ValueError, match="of another model"):
        read_vocabulary(tmp_path)

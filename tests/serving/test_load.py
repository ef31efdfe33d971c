"""The door for programs, when many ask at once, and when somebody is slow."""

import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from ms_seg.serving.limits import Limits
from tests.serving.serving import BLUE, PICTURE, RED, ask, encoded, halves, resident, segment, served
from tests.toy_model import StrongestChannel


@pytest.fixture
def held(monkeypatch):
    """The widths that the toy has looked at, an event when it begins to look, and one that lets it."""
    looked, began, go_on = [], threading.Event(), threading.Event()
    construct = StrongestChannel.construct

    def slowly(self, images):
        began.set()
        go_on.wait(20)
        looked.append(images.shape[-1])
        return construct(self, images)

    monkeypatch.setattr(StrongestChannel, "construct", slowly)
    return looked, began, go_on


class TestLoad:
    def test_of_fifty_requests_at_once_none_is_lost_and_memory_stays_level(self, port):
        """Each picture has a size of its own, by which its answer is known."""
        pictures = {width: encoded(halves(RED, BLUE, (width, 400))) for width in range(800, 1200, 8)}

        def round_of_fifty() -> float:
            with ThreadPoolExecutor(50) as threads:
                answers = dict(
                    zip(pictures, threads.map(lambda body: segment(port, body), pictures.values()), strict=True)
                )
            for width, (status, answer) in answers.items():
                assert status == 200 and answer["width"] == width
                assert [one["area"] for one in answer["segments"]] == [width * 200] * 2
            return resident()

        first, *_, last = (round_of_fifty() for _ in range(3))
        assert last - first < 40  # the pictures of a round have 60 MB

    def test_requests_are_answered_in_the_order_in_which_they_came(self, models, held):
        looked, began, go_on = held
        with served(models) as port, ThreadPoolExecutor(8) as threads:
            futures = []
            for number in range(8):
                futures.append(threads.submit(segment, port, encoded(halves(RED, BLUE, (40 + 4 * number, 40)))))
                began.wait(20)
                time.sleep(0.1)
            go_on.set()
            assert [future.result()[0] for future in futures] == [200] * 8
        assert looked == [40 + 4 * number for number in range(8)]

    @pytest.mark.parametrize("limits", [Limits(waiting=2), Limits(waiting_bytes=2 * len(PICTURE) + 10)])
    def test_whoever_finds_no_room_is_told_when_to_come_again(self, models, monkeypatch, limits):
        go_on = threading.Event()
        construct = StrongestChannel.construct
        monkeypatch.setattr(
            StrongestChannel, "construct", lambda self, images: go_on.wait(20) and construct(self, images)
        )
        with served(models, limits) as port, ThreadPoolExecutor(2) as threads:
            waiting = [threads.submit(segment, port, PICTURE) for _ in range(2)]
            time.sleep(0.5)
            status, headers, body = ask(port, "/segment", PICTURE)
            assert status == 503 and int(headers["retry-after"]) >= 1 and b"try again in" in body
            assert ask(port, "/models")[0] == 200
            go_on.set()
            assert [future.result()[0] for future in waiting] == [200, 200]
            assert segment(port, PICTURE)[0] == 200

    def test_nobody_looks_at_the_picture_of_one_who_is_gone(self, models, held):
        looked, began, go_on = held
        with served(models) as port, ThreadPoolExecutor(2) as threads:
            first = threads.submit(segment, port, encoded(halves(RED, BLUE, (40, 40))))
            assert began.wait(20)
            gone = encoded(halves(RED, BLUE, (44, 40)))
            with socket.create_connection(("127.0.0.1", port)) as leaving:
                head = f"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(gone)}\r\n\r\n"
                leaving.sendall(head.encode() + gone)
                time.sleep(0.5)
            time.sleep(0.5)
            last = threads.submit(segment, port, encoded(halves(RED, BLUE, (48, 40))))
            time.sleep(0.3)
            go_on.set()
            assert first.result()[0] == last.result()[0] == 200
        assert looked == [40, 48]

    def test_who_waits_when_it_is_stopped_is_told_so(self, models, held):
        _, began, go_on = held
        with ThreadPoolExecutor(1) as threads:
            with served(models) as port:
                waiting = threads.submit(segment, port, encoded(halves(RED, BLUE, (40, 44))))
                assert began.wait(20)
            assert waiting.result() == (503, {"error": "the server is being stopped"})
            go_on.set()

    def test_a_request_writes_nothing_to_disk(self, port):
        written = []

        def note(event, arguments):
            if event == "open" and watching and isinstance(arguments[2], int) and arguments[2] & 0b11:
                written.append(arguments[0])  # O_WRONLY or O_RDWR

        watching = [True]
        sys.addaudithook(note)
        try:
            big = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), np.uint8)))
            assert len(big) > 2 << 20 and segment(port, big, "label_png=1")[0] == 200
            assert segment(port, b"no picture")[0] == 400
        finally:
            watching.clear()
        assert not written


class TestSlowness:
    LIMITS = Limits(header_seconds=1.0, upload_seconds=0.5)

    @pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: loc"])
    def test_who_does_not_say_what_is_wanted_is_left(self, models, sent):
        with served(models, self.LIMITS) as port:
            slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
            for connection in slow:
                connection.sendall(sent)
            assert ask(port, "/models")[0] == 200
            for connection in slow:
                connection.settimeout(10)
                try:
                    assert connection.recv(10) == b""
                except ConnectionError:
                    pass  # closed as well
                connection.close()

    def test_who_sends_a_picture_for_ever_is_told_so(self, models):
        with served(models, self.LIMITS) as port, socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
            slow.settimeout(10)
            answer = b"".join(iter(lambda: slow.recv(4000), b""))
            assert answer.startswith(b"HTTP/1.1 408") and b"did not arrive within 0.5 s" in answer

    @pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"])
    def test_what_is_no_request_is_refused(self, port, sent):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(sent + b"\r\n\r\n")
            connection.settimeout(10)
            assert connection.recv(100).startswith(b"HTTP/1.1 400")

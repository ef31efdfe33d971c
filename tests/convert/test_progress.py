"""The progress bar."""

import io
import logging

import pytest

from convert import progress
from convert.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> list[float]:
    """Seconds that the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_shows_a_bar_that_fills_and_the_time_left(clock):
    stream = Terminal()
    with progress_bar(4, "segmenting", stream) as advance:
        for clock[0] in (30.0, 60.0):
            advance()
        last = stream.getvalue().split("\r")[-1]
        assert "segmenting [############------------]  50% 1:00 left" in last
        clock[0] = 70.0
        advance(2)
    assert stream.getvalue().endswith("100% 1:10\n")
    assert stream.getvalue().count("\n") == 1


def test_what_the_first_part_was_compiled_for_says_nothing_of_the_time_left(clock):
    stream = Terminal()
    with progress_bar(12, "training", stream) as advance:
        clock[0] = 60.0
        advance()
        assert stream.getvalue().split("\r")[-1].endswith("  8% 1:00")
        for clock[0] in (62.0, 64.0):
            advance()
        assert stream.getvalue().split("\r")[-1].endswith("25% 0:18 left")


def test_parts_of_what_is_done_next_move_the_bar_until_it_is_done(clock):
    stream = Terminal()
    with progress_bar(2, "segmenting", stream) as bar:
        clock[0] = 10.0
        bar.part(0.25, "window 1 of 4")
        clock[0] = 12.0
        bar.part(0.5, "window 2 of 4")
        assert stream.getvalue().split("\r")[-1].endswith("[######------------------]  25% 0:12 left  window 2 of 4")
        clock[0] = 16.0
        bar.part(1.0)
        bar()
        clock[0] = 18.0
        bar.part(0.5)
        assert "]  75% 0:03 left" in stream.getvalue().split("\r")[-1]


def test_a_file_gets_a_line_now_and_then(clock):
    stream = io.StringIO()
    with progress_bar(100, "writing", stream) as advance:
        for second in range(100):
            clock[0] = second
            advance()
    lines = stream.getvalue().splitlines()
    assert 5 < len(lines) < 15
    assert lines[-1] == "writing: 100%, 1:39"
    assert "\r" not in stream.getvalue()


def test_a_file_gets_no_line_twice(clock):
    stream = io.StringIO()
    with progress_bar(2, "writing", stream) as advance:
        clock[0] = 20.0
        advance(2)
    assert stream.getvalue() == "writing: 100%, 0:20\n"


def test_a_note_has_a_line_of_its_own():
    stream = Terminal()
    with progress_bar(2, "segmenting", stream) as bar:
        bar.note("dog.jpg is cut off")
    before, after = stream.getvalue().split("dog.jpg is cut off\n")
    assert before.endswith("\r\x1b[K")
    assert after.startswith("\r\x1b[Ksegmenting [")


def test_what_is_logged_meanwhile_is_noted_once():
    stream, log = Terminal(), logging.getLogger("a_package.a_module")
    with progress_bar(2, "segmenting", stream, log="a_package"):
        log.info("compiling %s", "a network")
        log.debug("a detail")
    log.info("afterwards")
    before, after = stream.getvalue().split("compiling a network\n")
    assert before.endswith("\r\x1b[K")
    assert after.startswith("\r\x1b[Ksegmenting [")
    assert "detail" not in after and "afterwards" not in after
    assert not logging.getLogger("a_package").handlers


def test_an_error_shows_where_the_work_ended():
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), progress_bar(4, "writing", stream) as advance:
        advance()
        raise KeyboardInterrupt
    assert stream.getvalue() == "writing: 25%, 0:00\n"


def test_nothing_says_a_hundred_per_cent_of_nothing():
    stream = io.StringIO()
    with progress_bar(0, "writing", stream):
        pass
    assert stream.getvalue() == ""


def test_hours_are_shown(clock):
    stream = io.StringIO()
    with progress_bar(1, "writing", stream) as advance:
        clock[0] = 3 * 3600 + 62
        advance()
    assert stream.getvalue().splitlines()[-1] == "writing: 100%, 3:01:02"

"""The exit code and the sentence that a command ends with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from convert.exit_code import exit_code

ROOT = Path(__file__).resolve().parents[2]


def raising(error: BaseException):
    def run() -> None:
        raise error

    return run


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_what_a_command_returns_is_its_exit_code(returned, code, capsys):
    assert exit_code("prog", lambda: returned) == code
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [ValueError("no such label: tre"), OSError("disk full"), RuntimeError("overflow")])
def test_what_is_wrong_is_one_sentence_and_exit_code_2(error, capsys):
    assert exit_code("prog", raising(error)) == 2
    assert capsys.readouterr().err == f"prog: {error}\n"


def test_a_stop_is_answered_and_has_the_shell_s_exit_code(capsys):
    assert exit_code("prog", raising(KeyboardInterrupt()), "stopped: the same command continues") == 130
    assert capsys.readouterr().err == "stopped: the same command continues\n"


def test_a_mistake_of_ours_is_not_hidden():
    with pytest.raises(TypeError):
        exit_code("prog", raising(TypeError("a bug")))


def test_an_error_of_the_system_names_its_file_and_has_no_number(capsys):
    assert exit_code("prog", raising(OSError(28, "No space left on device", "runs/log.jsonl"))) == 2
    assert capsys.readouterr().err == "prog: runs/log.jsonl: No space left on device\n"


def test_sigterm_stops_as_ctrl_c_does_and_only_while_a_command_runs(capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert exit_code("prog", lambda: os.kill(os.getpid(), signal.SIGTERM), "stopped") == 130
    assert capsys.readouterr().err == "stopped\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_stop_that_says_what_is_kept_is_heard(capsys):
    assert exit_code("prog", raising(KeyboardInterrupt("stopped: 3 of 5 are done")), "stopped") == 130
    assert capsys.readouterr().err == "stopped: 3 of 5 are done\n"


def test_what_a_command_made_is_not_looked_through_for_garbage_when_it_ends():
    code = """
import atexit, gc
from convert.exit_code import exit_code
atexit.register(lambda: print(gc.get_freeze_count() > 1000))  # runs last
assert exit_code("prog", lambda: exit_code("prog", lambda: 0)) == 0
print(gc.get_freeze_count())
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0", "True"]

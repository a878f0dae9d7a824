"""A stderr that fails, or that nobody reads, neither ends a command nor delays a guest's clocks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kit.cli import stderr
from kit.cli.interrupt import cancellable
from kit.cli.stderr import STDERR

PROGRAM = """
import sys
from kit.cli.stderr import STDERR
from kit.cli.streams import flush_streams
print("begun", flush=True)
sys.stdin.readline()
for step in range(100):
    STDERR.stage(f"stage {step}")
    STDERR.show(f"step {step}", step, 100)
STDERR.finish()
STDERR.line("the end")
STDERR.close()
print("ended")
flush_streams()
"""
"""As a command ends; without PYTHONUNBUFFERED, the last lines wait for the flush."""


def start(err: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "TERM": "xterm"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=err,
        text=True,
        start_new_session=True,
    )


def of_a_closed_terminal() -> tuple[int, int]:
    return pty.openpty()


def of_a_pipe_without_reader() -> tuple[int, int]:
    return os.pipe()


def of_a_full_disk() -> tuple[int, int]:
    return os.open(os.devnull, os.O_RDONLY), os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("opened", [of_a_closed_terminal, of_a_pipe_without_reader, of_a_full_disk])
def test_lines_that_cannot_be_written_are_dropped(opened):
    reader, writer = opened()
    with start(writer) as process:
        os.close(writer)
        assert process.stdout.readline() == "begun\n"
        os.close(reader)
        said, _ = process.communicate("go\n", timeout=120)
    assert (process.returncode, said) == (0, "ended\n")


def test_a_live_line_is_not_drawn_again_once_the_terminal_failed(monkeypatch):
    drawn = []

    class Broken:
        def __init__(self, elapsed):
            drawn.append(self)

        def show(self, *_):
            raise OSError(5, "Input/output error")

        stop = show

    monkeypatch.setattr("kit.cli.live_line.LiveLine", Broken)
    monkeypatch.setattr(stderr, "is_terminal", lambda: True)
    mine = stderr.Stderr()
    for step in range(3):
        mine.show(f"step {step}")
    mine.close()
    assert len(drawn) == 1


@contextlib.contextmanager
def unread_stderr() -> Iterator[tuple[int, int]]:
    """Replace stderr by a full pipe; yield the descriptor that reads it, and the bytes in it."""
    reader, writer = os.pipe()
    size = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    os.write(writer, b"x" * size)
    with os.fdopen(writer, "w") as full, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", full)
        yield reader, size
    os.close(reader)


def test_a_reader_that_stops_does_not_delay_what_runs_with_a_guest():
    passed, said = threading.Event(), []

    def read_later(reader: int, size: int) -> None:
        in_time = passed.wait(120)
        os.read(reader, size)
        while not b"".join(said).endswith(b"second\n"):
            said.append(os.read(reader, size))
        assert in_time, "a line waited for its reader"

    with unread_stderr() as (reader, size), ThreadPoolExecutor(1) as pool:
        ended = pool.submit(read_later, reader, size)
        with cancellable():
            STDERR.line("first")
            with STDERR.unhindered():
                STDERR.line("second")
            passed.set()
        ended.result()
    assert b"".join(said) == b"first\nsecond\n"


def test_lines_for_a_reader_that_stops_are_bounded(monkeypatch):
    monkeypatch.setattr(stderr, "MAX_WAITING", 5)
    shown = stderr.Stderr()
    with unread_stderr() as (reader, size):
        with shown.unhindered():
            for line in range(100):
                shown.line(str(line))
            os.read(reader, size)
        said = os.read(reader, size).split()
    assert said[:5] == [b"0", b"1", b"2", b"3", b"4"] and len(said) <= 6

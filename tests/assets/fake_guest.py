"""FAKE guests: a thread behind two pipes in place of a container, and a runtime that starts it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from kit.values.run_result import Enforcement, Usage
from kit.values.run_spec import RuntimeName


class Stderr(bytes):
    """What a guest prints on stderr; plain bytes go to stdout."""


class PipeGuest:
    """
    A thread that writes what the test says and then ends; `kill` closes it.

    At a number it waits so many seconds, at a function until that returns true.
    """

    enforcement = Enforcement(RuntimeName.HOST, "test", False, None, ())

    def __init__(self, script, exit_code: int = 0, deaf: bool = False, usage: Usage | None = None) -> None:
        self.stdout, self._out = os.pipe()
        self.stderr, self._err = os.pipe()
        self._exit_code, self._deaf = exit_code, deaf
        self._usage = usage or Usage()
        self._ended: int | None = None
        self._killed = threading.Event()
        self.terminated = 0
        self._thread = threading.Thread(target=self._run, args=(script,), daemon=True)
        self._thread.start()

    def _run(self, script) -> None:
        for item in script:
            if self._killed.is_set():
                break  # nobody may read any more
            if isinstance(item, bytes):
                os.write(self._err if isinstance(item, Stderr) else self._out, item)
            elif not self._wait(item):
                break
        os.close(self._out)
        os.close(self._err)
        self._ended = 137 if self._killed.is_set() else self._exit_code

    def _wait(self, until) -> bool:
        """Return whether the guest goes on after the wait: it was not killed."""
        if isinstance(until, float):
            return not self._killed.wait(until)
        while not until():
            if self._killed.wait(0.005):
                return False
        return True

    def join(self) -> None:
        """Wait until the guest has ended."""
        self._thread.join()

    def poll(self):
        return self._ended

    def terminate(self) -> None:
        self.terminated += 1
        if not self._deaf:
            self._killed.set()

    def kill(self) -> None:
        self._killed.set()

    def remains(self):
        return ("thread",) if self._ended is None else ()

    def usage(self) -> Usage:
        return self._usage

    def close(self) -> None:
        self.join()
        os.close(self.stdout)
        os.close(self.stderr)


class FakeRuntime:
    """
    Starts what `guest_of` returns; notes the directories that it was given.

    Its watchdog looks for processes that carry the run's id, and finds none.
    """

    name = RuntimeName.HOST
    contains = False

    def __init__(self, guest_of: Callable[[], PipeGuest]) -> None:
        self._guest_of = guest_of
        self.directories = []
        self.guests = []

    def start(self, spec, scratch):
        self.directories.append(scratch)
        self.guests.append(self._guest_of())
        return self.guests[-1]

    def reaper(self, run_id):
        return ("host", "-", run_id)

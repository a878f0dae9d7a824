"""The outcome of one fault, and of the command that ran under it: memory, time, exit code, output."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import workbench
from killing import look
from workbench import Bench

SPEEDRUN = (sys.executable, "-m", "kit.cli")
QUICK = workbench.GUEST.replace("0.4", "0.05")


@dataclass(frozen=True)
class FaultOutcome:
    """The outcome of one fault."""

    fault: str
    came: str
    """One line with figures for the page."""
    wrong: tuple[str, ...]
    """Failures; empty if the test passed."""


BOTH = ("runc", "docker")
NO_GUEST = "-"


@dataclass(frozen=True)
class Fault:
    """A fault that a test can inject, and the runtimes to which it applies."""

    make: Callable[[Bench], FaultOutcome]
    runtimes: tuple[str, ...] = BOTH
    """Values of `tests/crash --runtime`, or `NO_GUEST`: such a fault runs in the pass of runc."""

    @property
    def name(self) -> str:
        return self.make.__name__

    def label(self, runtime: str) -> str | None:
        """Return the page's label for this fault in a runtime; None if the fault does not apply."""
        if self.runtimes == (NO_GUEST,):
            return NO_GUEST if runtime == "runc" else None
        return runtime if runtime in self.runtimes else None


@dataclass(frozen=True)
class CommandResult:
    """The result of one command."""

    code: int
    said: str
    took_s: float
    peak: int
    """Peak memory in bytes, without child processes."""

    def wrong(self, *codes: int) -> list[str]:
        """Return the failures that count under every fault: a traceback or an unexpected exit code."""
        found = [f"a traceback: {self.said[-400:]}"] if "Traceback" in self.said else []
        return found + ([] if self.code in codes else [f"exit {self.code}: {self.said[-400:]}"])

    @property
    def error(self) -> str:
        """The first line of the error message."""
        return next((line for line in self.said.splitlines() if line.startswith("error:")), "")


def ended(bench: Bench, command: list[str], wrap: tuple[str, ...] = (), **env: str) -> CommandResult:
    """Run a command until it exits."""
    began, peak = time.monotonic(), 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*wrap, *command], env={**bench.engine.env, **env}, stdout=said, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            peak = max(peak, _peak(process.pid))
            time.sleep(0.02)
        said.seek(0)
        text = said.read().decode(errors="replace")
    return CommandResult(process.returncode, text, time.monotonic() - began, peak)


def _peak(pid: int) -> int:
    """Return a process's peak memory so far; the kernel's value for children starts at the parent's peak."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) << 10
    return 0


def one_run(bench: Bench, out: Path, verdicts: tuple[str, ...] = ("completed",)) -> list[str]:
    """Recover the runs below `out` as the next command does, and return the failures."""
    found = look(bench, out, "", time.monotonic())
    odd = (
        []
        if all(s in verdicts for s in found.statuses) and found.statuses
        else [f"records: {found.statuses}"]
    )
    return [*found.wrong, *odd]

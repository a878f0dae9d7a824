"""What came of one fault, and the command that was run under it: memory, time, exit code, what it said."""

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
class Found:
    """What came of one fault."""

    fault: str
    came: str
    """One line with figures, for people."""
    wrong: tuple[str, ...]
    """What should not be so; empty is the promise."""


BOTH = ("runc", "docker")
NO_GUEST = "-"


@dataclass(frozen=True)
class Fault:
    """A fault that can be made, and where it means something."""

    make: Callable[[Bench], Found]
    runtimes: tuple[str, ...] = BOTH
    """Each is one that `tests/crash --runtime` takes, or `NO_GUEST`: that is made with runc's."""

    @property
    def name(self) -> str:
        return self.make.__name__

    def label(self, runtime: str) -> str | None:
        """The column of the page that this fault's outcome with a runtime belongs to; None if it has none."""
        if self.runtimes == (NO_GUEST,):
            return NO_GUEST if runtime == "runc" else None
        return runtime if runtime in self.runtimes else None


@dataclass(frozen=True)
class Ended:
    """One command that ended."""

    code: int
    said: str
    took_s: float
    peak: int
    """Bytes of memory that it had at most, without its children."""

    def wrong(self, *codes: int) -> list[str]:
        """Name what no command may do, whatever the fault: show a traceback, or end with another code."""
        found = [f"a traceback: {self.said[-400:]}"] if "Traceback" in self.said else []
        return found + ([] if self.code in codes else [f"exit {self.code}: {self.said[-400:]}"])

    @property
    def error(self) -> str:
        """The first line of what it complained of."""
        return next((line for line in self.said.splitlines() if line.startswith("error:")), "")


def ended(bench: Bench, command: list[str], wrap: tuple[str, ...] = (), **env: str) -> Ended:
    """Run a command to its end."""
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
    return Ended(process.returncode, text, time.monotonic() - began, peak)


def _peak(pid: int) -> int:
    """The most memory that a process has had; what the kernel counts for children begins at the parent's."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) << 10
    return 0


def one_run(bench: Bench, out: Path, verdicts: tuple[str, ...] = ("completed",)) -> list[str]:
    """Look at the runs below `out` once the next kit has; name what is wrong."""
    found = look(bench, out, "", time.monotonic())
    odd = (
        []
        if all(s in verdicts for s in found.statuses) and found.statuses
        else [f"records: {found.statuses}"]
    )
    return [*found.wrong, *odd]

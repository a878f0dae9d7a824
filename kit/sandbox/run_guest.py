"""
Running one guest from start to end: its directory, its watchdog, its output. The order here is security.

1. The directory for the engine's files is made, if the guest shall have one of its own.
2. The watchdog stands, if the guest shall have one of its own.
3. Log and stamps are opened, and the guest is started and supervised until it is gone.
4. The caller's block reads what the guest printed, and may wait for what it left behind.
5. The watchdog ends, and only then the directory is removed: also if the guest did not start.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.sandbox.runtime.port import Guest, Runtime
from kit.sandbox.supervise import RunCallbacks, supervise
from kit.sandbox.watchdog import watchdog
from kit.values.log import Grammar
from kit.values.output import StoredOutput
from kit.values.run_result import Enforcement, RunResult
from kit.values.run_spec import RunSpec


@dataclass(frozen=True, slots=True)
class GuestRun:
    """One guest that was started and is gone."""

    result: RunResult
    enforcement: Enforcement
    output: StoredOutput
    """What it printed; as long as the files are there."""


@contextlib.contextmanager
def guest_directory(parent: Path | None, prefix: str) -> Iterator[Path]:
    """
    Make a directory that the guest's uid can enter, and remove it with all that is in it after the block.

    `parent` None: among the machine's temporary files.
    """
    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@contextlib.contextmanager
def run_guest(
    runtime: Runtime,
    spec: RunSpec,
    scratch: Path,
    output: StoredOutput | None = None,
    grammar: Grammar = Grammar.STEP,
    callbacks: RunCallbacks | None = None,
    *,
    prefix: str = "",
    watched: bool = False,
) -> Iterator[GuestRun]:
    """
    Run one guest to its end; the block reads what came of it.

    `scratch` holds the engine's files. With `prefix` it is the parent of a directory whose name begins so,
    which is made for this guest and removed after the block.
    `output` says where log and stamps are kept; without it they lie with the engine's files.
    `watched` gives the guest a watchdog of its own, until the end of the block. Otherwise the caller must
    have one for the run's id.

    Raises what the runtime's start raises, and `RunError` if the watchdog does not start or the disk is full.
    """
    guests: list[Guest] = []
    with contextlib.ExitStack() as held:
        directory = held.enter_context(guest_directory(scratch, prefix)) if prefix else scratch
        if watched:
            held.enter_context(watchdog(runtime.reaper(spec.run_id)))
        stored = output or StoredOutput(directory / "log", directory / "stamps")

        def start() -> Guest:
            guests.append(runtime.start(spec, directory))
            return guests[0]

        result = supervise(spec, start, stored.log, stored.stamps, grammar, callbacks or RunCallbacks())
        yield GuestRun(result, guests[0].enforcement, stored)

"""
Run one guest from start to end, with its directory, watchdog and output. The order matters for security.

1. Create the directory for the engine's files, if this guest needs a separate one.
2. Start the watchdog, if this guest needs a separate one.
3. Open log and stamps, start the guest, and supervise it until it is gone.
4. Run the caller's block, which reads the output and may wait until GPU memory is free.
5. Stop the watchdog, then remove the directory, even if the guest did not start.
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
    """The result of one guest that has ended."""

    result: RunResult
    enforcement: Enforcement
    output: StoredOutput
    """The guest's output, valid while its files exist."""


@contextlib.contextmanager
def guest_directory(parent: Path | None, prefix: str) -> Iterator[Path]:
    """
    Create a directory that the guest's uid can enter, and remove it and its content after the block.

    If `parent` is None, use the system's directory for temporary files.
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
    Run one guest until it ends, then run the block with its result.

    `scratch` holds the engine's files. With `prefix`, the engine's files go into a new directory below
    `scratch` whose name begins with `prefix`; it is removed after the block.
    `output` names the files for log and stamps; by default they are next to the engine's files.
    `watched` starts a watchdog for this guest until the end of the block. Otherwise the caller must have
    started one for the run's id.

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

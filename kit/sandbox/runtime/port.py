"""
The port between `supervise` and an engine: a Runtime starts a Guest, a Guest can be waited for and killed.

An adapter reads no clock and decides nothing: when to kill and what it meant is `supervise`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from kit.core.errors import RunError
from kit.values.run_result import Enforcement, Usage
from kit.values.run_spec import RunSpec, RuntimeName


class Guest(Protocol):
    """One started guest."""

    stdout: int
    """File descriptor to read from; reaches end of file when no guest process holds it."""
    stderr: int
    enforcement: Enforcement

    def poll(self) -> int | None:
        """Return the exit code as a shell would see it, or None while the guest runs."""

    def terminate(self) -> None:
        """Ask the guest to end (SIGTERM to its first process)."""

    def kill(self) -> None:
        """End every process of the guest at once, without asking. Safe to call again."""

    def remains(self) -> tuple[str, ...]:
        """Name what is left of the guest: processes, container. Empty after a successful `kill`."""

    def usage(self) -> Usage:
        """Return what the kernel counted so far."""

    def close(self) -> None:
        """Remove what the runtime keeps of the guest; it must have ended."""


class Runtime(Protocol):
    """Starts guests in one kind of engine."""

    name: RuntimeName
    contains: bool

    def start(self, spec: RunSpec, scratch: Path) -> Guest:
        """
        Start the guest that `spec` describes, keeping the engine's files in the folder `scratch`.

        Raises `PrerequisiteError` if this machine lacks what the spec needs, `RunError` if the engine
        refused or failed; nothing of the guest is left then.
        """

    def reaper(self, run_id: str) -> Sequence[str]:
        """Return what `kit.sandbox.watchdog` needs on its command line to end and remove this run's guest."""


def require_devices(spec: RunSpec) -> None:
    """Raise `RunError` unless the spec says which GPUs are meant."""
    if len(spec.gpu_devices) != spec.gpus:
        raise RunError(f"{spec.gpus} GPUs are wanted, but {len(spec.gpu_devices)} were chosen")


BOOTSTRAP = """\
set -e
cp -R --no-preserve=mode -- "$1/." .
n=$2
shift 2
while [ "$n" -gt 0 ]; do mkdir -p -- "$1"; shift; n=$((n - 1)); done
exec "$@"
"""
"""What the guest's shell does first, as the guest: fill the workspace, then become the submission."""


def bootstrap(spec: RunSpec, submission: str) -> list[str]:
    """Return the guest's whole argv; `submission` is where the guest sees the submission's folder."""
    return [
        "/bin/sh",
        "-c",
        BOOTSTRAP,
        "guest",
        submission,
        str(len(spec.folders)),
        *spec.folders,
        *spec.argv,
    ]

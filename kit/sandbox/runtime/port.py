"""
The interface between `supervise` and an engine: a Runtime starts a Guest, which can be polled and killed.

An adapter does not read a clock or decide when to kill: `supervise` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from kit.core.errors import RunError
from kit.gpu import driver
from kit.gpu.driver import DriverFiles
from kit.values.run_result import Enforcement, Usage
from kit.values.run_spec import BYTE_CODE, BYTE_CODE_LINKS, RunSpec, RuntimeName


class Guest(Protocol):
    """One started guest."""

    stdout: int
    """File descriptor for reading; reaches end of file when no guest process holds it."""
    stderr: int
    enforcement: Enforcement

    def poll(self) -> int | None:
        """Return the exit code as a shell would see it, or None while the guest runs."""

    def terminate(self) -> None:
        """Send SIGTERM to the guest's first process."""

    def kill(self) -> None:
        """Send SIGKILL to every process of the guest. Safe to repeat."""

    def remains(self) -> tuple[str, ...]:
        """Return the names of the guest's remaining processes and container; empty after `kill` succeeded."""

    def usage(self) -> Usage:
        """Return the resource usage that the kernel has counted so far."""

    def close(self) -> None:
        """Remove the runtime's state of the guest, which must have ended."""


class Runtime(Protocol):
    """Starts guests with one kind of engine."""

    name: RuntimeName
    contains: bool

    def start(self, spec: RunSpec, scratch: Path) -> Guest:
        """
        Start the guest that `spec` describes, with the engine's files in the directory `scratch`.

        Raises `PrerequisiteError` if this machine lacks what the spec needs, `RunError` if the engine
        refused or failed. In both cases nothing of the guest is left.
        """

    def reaper(self, run_id: str) -> Sequence[str]:
        """Return the arguments with which `kit.sandbox.watchdog` kills and removes this run's guest."""


def driver_of(spec: RunSpec) -> DriverFiles | None:
    """
    Return the driver files and devices for the guest's GPUs, or None for a guest without GPUs.

    Every runtime that isolates guests gives a guest exactly these. Raises `PrerequisiteError` if a file is
    missing, `RunError` if the spec does not list as many GPUs as it requires.
    """
    if len(spec.gpu_devices) != spec.gpus:
        raise RunError(f"wrong number of selected GPUs: {len(spec.gpu_devices)}, expected {spec.gpus}")
    return driver.find_driver_files(tuple(gpu.minor for gpu in spec.gpu_devices)) if spec.gpus else None


BOOTSTRAP = """\
set -e
cp -R --no-preserve=mode -- "$1/." .
n=$2
shift 2
while [ "$n" -gt 0 ]; do mkdir -p -- "$1"; shift; n=$((n - 1)); done
exec "$@"
"""
"""Runs first in the guest: copy the submission into the workspace, then exec its script."""
LINK_BYTE_CODE = f"""\
mkdir -p {BYTE_CODE_LINKS} && cp -Rs {BYTE_CODE}/. {BYTE_CODE_LINKS}/ || :
"""
"""Runs before it if the guest has byte code: Python also writes there, and the mount is read-only."""


def bootstrap(spec: RunSpec, submission: str) -> list[str]:
    """Return the guest's whole argv; `submission` is the submission's directory inside the guest."""
    has_byte_code = any(mount.target == BYTE_CODE for mount in spec.mounts)
    return [
        "/bin/sh",
        "-c",
        LINK_BYTE_CODE + BOOTSTRAP if has_byte_code else BOOTSTRAP,
        "guest",
        submission,
        str(len(spec.folders)),
        *spec.folders,
        *spec.argv,
    ]

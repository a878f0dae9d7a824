"""The identity of a process, unique over time and across machines, and whether that process still runs."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kit.core.codec import decode, encode
from kit.core.digest import canonical_json, sha256_bytes
from kit.core.errors import KitError
from kit.core.schema import parse_json


class OwnerState(StrEnum):
    """Whether a process is running, as far as this process can tell."""

    RUNNING = "running"
    ENDED = "ended"
    ELSEWHERE = "elsewhere"
    """The process belongs to another machine or PID namespace, so its state is unknown."""


@dataclass(frozen=True, slots=True)
class Process:
    """The identity of one process, unique over time and across machines."""

    host: str
    boot: str
    namespace: str
    """Its PID namespace."""
    pid: int
    started: int
    """Clock ticks from boot to start."""


def this_process() -> Process:
    """Return the identity of the calling process."""
    pid = os.getpid()
    return Process(_host(), _boot(), _namespace(), pid, _started(pid) or 0)


def standing(process: Process) -> OwnerState:
    """Tell whether a process still runs, as far as this process can tell."""
    here = this_process()
    if process.host != here.host:
        return OwnerState.ELSEWHERE
    if process.boot != here.boot:
        return OwnerState.ENDED
    if process.namespace != here.namespace:
        return OwnerState.ELSEWHERE
    return OwnerState.RUNNING if _started(process.pid) == process.started else OwnerState.ENDED


def process_bytes(process: Process) -> bytes:
    """Return the bytes that name a process in a file; see `read_process`."""
    return canonical_json(encode(Process, process))


def read_process(data: bytes) -> Process | None:
    """Return the process that `process_bytes` wrote; None if the bytes are invalid."""
    try:
        process: Process = decode(Process, parse_json(data, "lease"))
    except KitError:
        return None
    return process


@functools.cache
def _host() -> str:
    """
    Return an id of this machine: a hash of its machine id, which stays private, and its host name.

    The host name distinguishes cloned images. A machine without a machine id gets a new id after each boot.
    """
    identity = _text("/etc/machine-id") or _boot()
    return sha256_bytes(f"speedrun-kit\n{identity}\n{platform.node()}".encode())[:32]


def _boot() -> str:
    return _text("/proc/sys/kernel/random/boot_id") or "unknown"


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        return "unknown"


def _started(pid: int) -> int | None:
    """Return the start time of a process in clock ticks after boot; None if it has exited or is a zombie."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[0] not in "ZX" else None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""

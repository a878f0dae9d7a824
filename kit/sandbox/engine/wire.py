"""The engine's socket: its path, the process that listens on it, and the framing of container output."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from kit.core.errors import UsageError


def address(url: str) -> Path:
    """Return the path of an engine's socket. Raises `UsageError` if `url` is not a local unix socket."""
    path = url.removeprefix("unix://")
    if path == url or not path.startswith("/"):
        raise UsageError(
            f"{url} is not a unix socket on this machine; speedrun cannot use a remote engine",
            "set DOCKER_HOST=unix:///path/to/docker.sock",
        )
    return Path(path)


def peer_pid(path: Path) -> int:
    """Connect once and return the pid of the listener; the SDK would leak a socket that fails."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(2)
        s.connect(str(path))
        pid: int = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return pid


def why_silent(path: Path) -> str:
    """Return a hint for a socket on which no engine answers."""
    if not path.exists():
        return "start Docker, or set DOCKER_HOST to its socket, or use --runtime runc"
    if not os.access(path, os.R_OK | os.W_OK):
        return f"permission denied for {path}: add this user to its group, or use --runtime runc"
    return "restart the engine that should answer there, or use --runtime runc"


def hard_limit(path: Path, name: str, kind: int) -> int | None:
    """Return the lower hard limit of this process and of the socket's listener; None if unlimited."""
    import resource  # missing on Windows

    mine = resource.getrlimit(kind)[1]
    limits = [] if mine == resource.RLIM_INFINITY else [mine]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{peer_pid(path)}/limits").read_text().splitlines()
        rest = next(line.removeprefix(name) for line in lines if line.startswith(name))
        limits.append(int(rest.split()[1]))
    return min(limits, default=None)


def frames(stream: socket.socket) -> Iterator[tuple[int, bytes]]:
    """
    Yield (1 for stdout or 2 for stderr, bytes) until the stream ends or breaks.

    See: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
    """
    with contextlib.suppress(OSError), stream.makefile("rb") as source:
        while len(head := source.read(8)) == 8:
            kind, left = struct.unpack(">BxxxL", head)
            while left and (data := source.read1(min(left, 1 << 16))):
                left -= len(data)
                yield (1 if kind == 1 else 2), data

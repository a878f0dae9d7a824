"""Find and kill processes through /proc: by PID namespace, by descent, by an environment marker."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MARKER = "SPEEDRUN_RUN_ID"
"""Environment variable that names the run: set for an engine's own client, and for guests of `host`."""

PROC = Path("/proc")


def pids() -> list[int]:
    """Return the ids of all processes that this process can see, sorted."""
    return sorted(int(name) for name in os.listdir(PROC) if name.isdecimal())  # noqa: PTH208


def namespace_of(pid: int) -> str | None:
    """Return the name of a process's PID namespace, or None if the process has exited or access is denied."""
    try:
        return os.readlink(PROC / str(pid) / "ns" / "pid")  # noqa: PTH115
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Namespace:
    """A PID namespace that is held open, so that the kernel cannot reuse its name."""

    name: str
    fd: int

    def members(self) -> list[int]:
        """Return the processes in the namespace, without zombies."""
        return [p for p in pids() if namespace_of(p) == self.name and is_alive(p)]

    def close(self) -> None:
        """Close the namespace; the kernel may reuse its name immediately."""
        os.close(self.fd)


def hold_namespace(pid: int) -> Namespace | None:
    """
    Hold a process's PID namespace open.

    Return None if it is the caller's namespace, the process has exited, or access is denied.
    """
    try:
        fd = os.open(PROC / str(pid) / "ns" / "pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    held = Namespace(os.readlink(PROC / "self" / "fd" / str(fd)), fd)  # noqa: PTH115
    if held.name == namespace_of(os.getpid()):
        held.close()
        return None
    return held


def marked(run_id: str) -> list[int]:
    """Return the processes whose initial environment names this run, except the calling process."""
    marker = f"{MARKER}={run_id}".encode()
    return [p for p in pids() if p != os.getpid() and marker in _environment(p) and is_alive(p)]


def pids_in_container(container: str) -> list[int]:
    """Return the living processes in the control group that Docker or Podman made for a container's id."""
    return [p for p in pids() if is_in_container(container, p) and is_alive(p)]


def is_in_container(container: str, pid: int) -> bool:
    """Tell whether a process is in a container's control group, or in one below it."""
    names = {container, f"docker-{container}.scope", f"libpod-{container}", f"libpod-{container}.scope"}
    try:
        lines = (PROC / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return False
    return any(names.intersection(line.split(":", 2)[-1].split("/")) for line in lines)


def shim_pids(container: str) -> list[int]:
    """Return the containerd shims of a container; they survive a killed engine."""
    shims = []
    for pid in pids():
        argv = _argv(pid)
        if argv and Path(argv[0]).name.startswith("containerd-shim") and container in argv:
            shims.append(pid)
    return shims


def descendants(roots: Iterable[int]) -> list[int]:
    """Return those of `roots` and all their descendants that are alive."""
    children: dict[int, list[int]] = {}
    for pid in pids():
        children.setdefault(_parent(pid), []).append(pid)
    family: list[int] = []
    queue = list(roots)
    while queue:
        pid = queue.pop()
        if pid in family:
            continue
        family.append(pid)
        queue += children.get(pid, [])
    return [p for p in family if is_alive(p)]


def is_own(pid: int) -> bool:
    """Tell whether this user owns a process; True if the process has exited."""
    try:
        return (PROC / str(pid)).stat().st_uid == os.geteuid()
    except OSError:
        return True


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is not a zombie."""
    return _state(pid) not in ("", "Z", "X")


def kill_all(targets: Iterable[int]) -> None:
    """Send SIGKILL to each process; ignore those that have exited."""
    for pid in targets:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def describe(pid: int) -> str:
    """Return a process's id and name for a message."""
    try:
        name = (PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        name = "exited"
    return f"process {pid} ({name})"


def _stat(pid: int) -> list[str]:
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if len(fields) > 1 else 0


def _argv(pid: int) -> list[str]:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _environment(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []

"""Finding and ending processes through /proc: by PID namespace, by descent, by an environment marker."""

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
    """Return the name of a process's PID namespace, or None if it is gone or may not be looked at."""
    try:
        return os.readlink(PROC / str(pid) / "ns" / "pid")  # noqa: PTH115
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Namespace:
    """A PID namespace that is held open, so that the kernel gives its name to no later one."""

    name: str
    fd: int

    def members(self) -> list[int]:
        """Return the processes in it, zombies left out."""
        return [p for p in pids() if namespace_of(p) == self.name and is_alive(p)]

    def close(self) -> None:
        """Let it go; its name may be another's at once."""
        os.close(self.fd)


def hold_namespace(pid: int) -> Namespace | None:
    """Hold a process's PID namespace; None if it is this process's own, is gone or may not be looked at."""
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
    """Return the processes whose initial environment names this run, without the calling one."""
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
    """Return containerd's own processes beside a container; they outlive a killed engine."""
    shims = []
    for pid in pids():
        argv = _argv(pid)
        if argv and Path(argv[0]).name.startswith("containerd-shim") and container in argv:
            shims.append(pid)
    return shims


def descendants(roots: Iterable[int]) -> list[int]:
    """Return `roots` and all their living descendants."""
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
    """Tell whether a process is this user's; one that is gone is nobody else's."""
    try:
        return (PROC / str(pid)).stat().st_uid == os.geteuid()
    except OSError:
        return True


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is not a zombie."""
    return _state(pid) not in ("", "Z", "X")


def kill_all(targets: Iterable[int]) -> None:
    """Send SIGKILL to each; one that is gone already is no error."""
    for pid in targets:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def describe(pid: int) -> str:
    """Name a process for a person."""
    try:
        name = (PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        name = "gone"
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

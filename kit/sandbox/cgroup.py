"""Read one guest's control group (version 1 or 2): members, peak memory, OOM kills."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from kit.values.run_result import Usage

MOUNT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The control group at `path` (absolute, as in an OCI config), in every mounted hierarchy."""

    path: str

    def members(self) -> list[int]:
        """Return the sorted ids of the processes in the group; the kernel omits zombies."""
        pids: set[int] = set()
        for folder in self._folders():
            with contextlib.suppress(OSError, ValueError):
                pids |= {int(line) for line in (folder / "cgroup.procs").read_text().split()}
        return sorted(pids)

    def usage(self) -> Usage:
        """Return peak memory and OOM kills; each is None if this kernel does not count it."""
        for folder in self._folders():
            peak = _number(folder / "memory.peak") or _number(folder / "memory.max_usage_in_bytes")
            kills = _field(folder / "memory.events", "oom_kill")
            if kills is None:
                kills = _field(folder / "memory.oom_control", "oom_kill")
            if peak is not None or kills is not None:
                return Usage(peak, kills)
        return Usage()

    def remove(self) -> None:
        """Remove the group's directories; a group that still has processes stays."""
        for folder in self._folders():
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _folders(self) -> list[Path]:
        relative = self.path.lstrip("/")
        roots = (MOUNT, MOUNT / "memory", MOUNT / "pids", MOUNT / "devices", MOUNT / "freezer")
        return [root / relative for root in roots if (root / relative).is_dir()]


def cgroup_of(pid: int) -> Cgroup | None:
    """Return the control group that accounts for a process's memory, or None if the process has exited."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    rows = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    paths = [path for _, controllers, path in rows if "memory" in controllers.split(",")]
    paths += [path for number, controllers, path in rows if number == "0" and not controllers]
    return Cgroup(paths[0]) if paths else None


def writable() -> bool:
    """Tell whether this process may create control groups for memory and pids."""
    roots = [MOUNT] if (MOUNT / "cgroup.controllers").exists() else [MOUNT / "memory", MOUNT / "pids"]
    return os.geteuid() == 0 and all(root.is_dir() and os.access(root, os.W_OK) for root in roots)


def accounts_swap() -> bool:
    """Tell whether a memory limit can include swap on this kernel."""
    return (MOUNT / "cgroup.controllers").exists() or (
        MOUNT / "memory" / "memory.memsw.limit_in_bytes"
    ).exists()


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _field(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), None)

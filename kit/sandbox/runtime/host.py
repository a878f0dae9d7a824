"""
Runtime `host`: the guest is a plain process of this user, without isolation.

Meant for pods that are containers and cannot start another one. Deadlines and output limits are enforced;
memory, pids, network, file system and uid are the machine's. Results are never ranked.
"""

from __future__ import annotations

import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from kit.sandbox import processes
from kit.sandbox.runtime.port import bootstrap
from kit.values.run_result import Enforcement, Usage
from kit.values.run_spec import WORKSPACE, RunSpec, RuntimeName

TMP = PurePosixPath("/tmp")  # noqa: S108 - the guest's
NOT_ENFORCED = (
    "memory", "pids", "network", "read-only root", "capabilities", "seccomp", "guest uid (it is the kit's)",
    "disk", "mount flags",
)  # fmt: skip


class Host:
    """See `kit.sandbox.runtime.port.Runtime`."""

    name = RuntimeName.HOST
    contains = False

    def start(self, spec: RunSpec, scratch: Path) -> HostGuest:
        """See `Runtime.start`. Mounts become symbolic links in the workspace."""
        workspace, tmp = scratch / "workspace", scratch / "tmp"
        workspace.mkdir()
        tmp.mkdir()
        for mount in spec.mounts:
            link = workspace / _inside(mount.target)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(mount.source)
        return HostGuest(spec, workspace, tmp)

    def reaper(self, run_id: str) -> Sequence[str]:
        """See `Runtime.reaper`."""
        return ("host", "-", run_id)


def _relocated(value: str, moved: dict[PurePosixPath, Path]) -> str:
    """Translate a path inside the guest to this runtime's path on the machine; caches start empty."""
    path = PurePosixPath(value)
    for inside, outside in moved.items():
        if path.is_relative_to(inside):
            return str(outside / path.relative_to(inside))
    return value


def _inside(target: PurePosixPath) -> PurePosixPath:
    return target.relative_to(WORKSPACE if target.is_relative_to(WORKSPACE) else "/")


class HostGuest:
    """See `kit.sandbox.runtime.port.Guest`."""

    def __init__(self, spec: RunSpec, workspace: Path, tmp: Path) -> None:
        self.enforcement = Enforcement(RuntimeName.HOST, platform.release(), False, None, NOT_ENFORCED)
        self._run_id = spec.run_id
        self._folders = (workspace, tmp)
        moved = {
            WORKSPACE: workspace,
            TMP: tmp,
            **{m.target: workspace / _inside(m.target) for m in spec.mounts},
        }
        env = {name: _relocated(value, moved) for name, value in spec.env}
        self._process = subprocess.Popen(
            bootstrap(spec, str(spec.submission)),
            cwd=workspace,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            umask=0o022,  # as in the other runtimes
            env={**env, processes.MARKER: spec.run_id},
        )
        assert self._process.stdout and self._process.stderr  # noqa: S101 - set by PIPE
        self.stdout, self.stderr = self._process.stdout.fileno(), self._process.stderr.fileno()

    def poll(self) -> int | None:
        """See `Guest.poll`."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def terminate(self) -> None:
        """See `Guest.terminate`."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """See `Guest.kill`: find processes by the run's marker and by descent, also after a double fork."""
        own = [self._process.pid] if self._process.poll() is None else []
        processes.kill_all({*processes.descendants(own), *processes.marked(self._run_id)})
        if own:
            self._process.wait()

    def remains(self) -> tuple[str, ...]:
        """See `Guest.remains`. Misses a process that cleared its environment and forked away."""
        return tuple(processes.describe(pid) for pid in processes.marked(self._run_id))

    def usage(self) -> Usage:
        """See `Guest.usage`: peak memory of the largest single process, not the sum."""
        import resource  # missing on Windows

        return Usage(peak_memory=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)

    def close(self) -> None:
        """See `Guest.close`."""
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)


def reap(run_id: str) -> bool:
    """Kill all processes with the run's marker; return True if none is left."""
    pids = processes.marked(run_id)
    processes.kill_all(processes.descendants(pids))
    if pids:
        time.sleep(0.05)
    return not processes.marked(run_id)

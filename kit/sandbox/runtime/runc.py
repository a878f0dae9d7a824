"""
Runtime `runc`: one OCI bundle, one foreground `runc run`, no daemon. The embedded default.

With root, the guest runs under another uid in separate cgroups. Without root (rootless), it runs as the same
user without capabilities in a user namespace; memory and pids limits are recorded as not enforced.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kit.core.digest import sha256_bytes
from kit.core.errors import PrerequisiteError, RunError
from kit.core.extras import system_install
from kit.sandbox import cgroup, processes
from kit.sandbox.cgroup import Cgroup
from kit.sandbox.runtime import hidden, hostimage, oci, rootless
from kit.sandbox.runtime.port import driver_of
from kit.sandbox.runtime.state import folder as state_of
from kit.sandbox.runtime.state import make_private
from kit.values.run_result import Enforcement, Usage
from kit.values.run_spec import RunSpec, RuntimeName

CGROUP_PARENT = "/speedrun-kit"
HINT = "update runc, or use --runtime docker"
STARTED_WITHIN_S = 120.0
"""Seconds; a busy machine with a slow disk needs several."""
CAP_SYS_RESOURCE = 1 << 24
"""Bit of the capability to raise hard limits."""
REMOVALS = 3
"""Number of attempts to remove the state and cgroups of a guest that has ended."""


class Runc:
    """See `kit.sandbox.runtime.port.Runtime`. `python` is the interpreter for `--image host`."""

    name = RuntimeName.RUNC
    contains = True

    def __init__(self, python: Path | None = None, state: Path | None = None) -> None:
        self._python = python or Path(sys.executable)
        self.state = state or state_folder()

    def start(self, spec: RunSpec, scratch: Path) -> RuncGuest:
        """See `Runtime.start`."""
        binary, version = _runc()
        box = self._box(spec, scratch)
        bundle = scratch / "oci"
        bundle.mkdir()
        document = oci.config(spec, box)
        (bundle / "config.json").write_bytes(document)
        make_private(self.state)
        not_enforced = (
            () if box.cgroup else ("memory", "pids (per user, by rlimit)", "guest uid (it is the kit's)")
        )
        enforcement = Enforcement(self.name, version, self.contains, sha256_bytes(document), not_enforced)
        return RuncGuest(binary, self.state, spec.run_id, bundle, box.cgroup, enforcement)

    def reaper(self, run_id: str) -> Sequence[str]:
        """See `Runtime.reaper`."""
        return ("runc", str(self.state), run_id)

    def _box(self, spec: RunSpec, scratch: Path) -> oci.ContainerSettings:
        import resource  # missing on Windows

        root = os.geteuid() == 0
        if root and not cgroup.writable():
            raise PrerequisiteError(
                "cannot write the memory and pids control groups in /sys/fs/cgroup",
                "mount /sys/fs/cgroup writable in this container, or use --runtime host (never ranked)",
            )
        if not root:
            rootless.require_user_namespaces()
        if spec.image is None:
            rootfs, mounts = hostimage.build(scratch / "rootfs", self._python)
        elif spec.image.rootfs is not None:
            rootfs, mounts = spec.image.rootfs, ()
        else:
            raise RunError(f"image {spec.image.era} is not unpacked for runc")
        return oci.ContainerSettings(
            rootfs=rootfs.resolve(),  # runc refuses a path with a symbolic link in it
            mounts=mounts,
            rootless_ids=None if root else (os.geteuid(), os.getegid()),
            cgroup=f"{CGROUP_PARENT}/{spec.run_id}" if root else None,
            swap_limit=cgroup.accounts_swap(),
            open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            locked_memory=_locked_memory_limit(),
            driver=driver_of(spec),
            masked=hidden.masked(),
        )


def _locked_memory_limit(status: Path = Path("/proc/self/status")) -> int | None:
    """Return the hard limit; None if it is unlimited or this process may raise it."""
    import resource  # missing on Windows

    lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
    if int(lines["CapEff"], 16) & CAP_SYS_RESOURCE:
        return None
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    return None if most == resource.RLIM_INFINITY else most


class RuncGuest:
    """See `kit.sandbox.runtime.port.Guest`."""

    def __init__(
        self, binary: str, state: Path, run_id: str, bundle: Path, group: str | None, enforcement: Enforcement
    ) -> None:
        self.enforcement = enforcement
        self._state, self._run_id = state, run_id
        self._cgroup = Cgroup(group) if group else None
        self._pid_file = bundle / "pid"
        self._init: int | None = None
        self._namespace: processes.Namespace | None = None
        argv = [
            binary, "--root", str(state), "--log", str(bundle / "runc.log"), "run", "--keep",
            "--pid-file", str(self._pid_file), "--bundle", str(bundle), run_id,
        ]  # fmt: skip
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            umask=0o022,  # runc makes the directories of mount points, which the guest's uid must enter
            env={"PATH": os.environ.get("PATH", os.defpath), processes.MARKER: run_id},
        )
        assert self._process.stdout and self._process.stderr  # noqa: S101 - set by PIPE
        self.stdout, self.stderr = self._process.stdout.fileno(), self._process.stderr.fileno()
        self._await_start()

    def _await_start(self) -> None:
        deadline = time.monotonic() + STARTED_WITHIN_S
        while not self._learn_init():
            if self._process.poll() is not None and not self._learn_init():
                reason = self._complaint()
                self.close()
                hint = None if os.geteuid() == 0 else rootless.start_hint()
                raise RunError(f"runc did not start the guest: {reason}", hint or HINT)
            if time.monotonic() > deadline:
                self.kill()
                self.close()
                raise RunError(f"timeout: runc did not start the guest within {STARTED_WITHIN_S:.0f} s", HINT)
            time.sleep(0.002)

    def _learn_init(self) -> bool:
        try:
            self._init = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return False
        self._namespace = processes.hold_namespace(self._init)
        return True

    def _complaint(self) -> str:
        assert self._process.stderr  # noqa: S101
        os.set_blocking(self.stderr, False)  # a process that survived runc may hold the other end
        said = (self._process.stderr.read(4096) or b"").decode(errors="replace").strip().splitlines()
        return said[-1][:500] if said else f"exit code {self._process.returncode}"

    def poll(self) -> int | None:
        """See `Guest.poll`."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def terminate(self) -> None:
        """See `Guest.terminate`."""
        self._signal_init(signal.SIGTERM)

    def kill(self) -> None:
        """See `Guest.kill`: the death of the first process of a PID namespace ends all others."""
        self._signal_init(signal.SIGKILL)
        if self._cgroup:
            processes.kill_all(self._cgroup.members())
        if self._namespace and self._process.poll() is not None:
            # runc can be killed before its guest; without a cgroup only the namespace identifies the guest
            processes.kill_all(self._namespace.members())
        if self._init is None:
            processes.kill_all(processes.descendants([self._process.pid]))

    def _signal_init(self, number: signal.Signals) -> None:
        # while runc runs it has not reaped the guest, so the pid cannot belong to another process
        if self._init is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init, number)

    def remains(self) -> tuple[str, ...]:
        """See `Guest.remains`."""
        left = set(self._cgroup.members() if self._cgroup else ())
        if self._namespace:
            left |= set(self._namespace.members())
        if self._process.poll() is None:
            left.add(self._process.pid)
        return tuple(processes.describe(pid) for pid in sorted(left))

    def usage(self) -> Usage:
        """See `Guest.usage`."""
        return self._cgroup.usage() if self._cgroup else Usage()

    def close(self) -> None:
        """See `Guest.close`."""
        self._remove()
        if self._namespace:
            self._namespace.close()
            self._namespace = None
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    def _remove(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        # on a busy machine `runc delete` can time out, and the run's next guest needs the id
        for _ in range(REMOVALS):
            if reap(self._state, self._run_id):
                break


def reap(state: Path, run_id: str) -> bool:
    """Kill and remove what is left of a run's guest; return True if nothing is left. Safe to repeat."""
    group = Cgroup(f"{CGROUP_PARENT}/{run_id}")
    processes.kill_all(processes.descendants(processes.marked(run_id)))
    processes.kill_all(group.members())
    binary = shutil.which("runc", path=_search_path())
    if binary and (state / run_id).is_dir():
        # if the guest has filled the process table, no program can start until it is gone: try again
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            subprocess.run(
                [binary, "--root", str(state), "delete", "--force", run_id],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=20,
                check=False,
            )
    group.remove()
    return not ((state / run_id).exists() or group.members() or processes.marked(run_id))


def installed() -> bool:
    """Tell whether a runc binary exists; `speedrun doctor` checks whether it can start a guest."""
    return shutil.which("runc", path=_search_path()) is not None


def state_folder() -> Path:
    """Return the directory of runc's state for this user."""
    return state_of("runc")


def _search_path() -> str:
    # runc is installed in sbin, which is not in an ordinary user's PATH
    return os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"


def _runc() -> tuple[str, str]:
    binary = shutil.which("runc", path=_search_path())
    if binary is None:
        raise PrerequisiteError("runc is not installed", system_install("runc"))
    return binary, _version(binary)


@functools.cache
def _version(binary: str) -> str:
    try:
        said = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as e:
        raise PrerequisiteError(
            f"`{binary} --version` failed: {e}", "reinstall runc, or raise this shell's limits: ulimit -a"
        ) from e
    return said.split()[2] if len(said.split()) > 2 else "unknown"

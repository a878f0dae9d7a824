"""A Docker daemon of the tests' own: every file, socket, process and control group of it is in one place."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from kit.sandbox import processes
from kit.sandbox.cgroup import Cgroup
from kit.sandbox.engine import Engine, answers

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
BINARY = shutil.which("dockerd", path=PATH)
LABEL = "speedrun-kit.run"


class Dockerd:
    """Touches nothing of the machine's own Docker: own data, exec root, socket and pid file; no network."""

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="sr-dockerd-"))
        self.url = f"unix://{self.base}/docker.sock"
        self.parent = f"/{self.base.name}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        deadline = time.monotonic() + 300
        self._launch(deadline)
        while not answers(self.url):
            tail = (self.base / "log").read_text(errors="replace")[-2000:]
            assert time.monotonic() < deadline, tail
            if self.process.poll() is not None:
                # it gives its containerd 15 s to start, and a busy machine can need more
                assert "timeout waiting for containerd to start" in tail, tail
                self._launch(deadline)
            time.sleep(0.1)

    def _launch(self, deadline: float) -> None:
        command = [
            BINARY, "--data-root", f"{self.base}/data", "--exec-root", f"{self.base}/exec",
            "--host", self.url, "--pidfile", f"{self.base}/pid", "--bridge", "none", "--iptables=false",
            "--ip6tables=false", "--cgroup-parent", self.parent,
            "--exec-opt", "native.cgroupdriver=cgroupfs",
        ]  # fmt: skip
        # the containerd of a killed daemon dies a moment later, and until then holds its database
        while any("shim" not in processes.describe(pid) for pid in self.helpers()):
            assert time.monotonic() < deadline, "the containerd of the daemon before this one still runs"
            time.sleep(0.1)
        # where the init process does not reap, the dead ones of a killed daemon still seem to run
        for stale in ("pid", "exec/containerd/containerd.pid"):
            (self.base / stale).unlink(missing_ok=True)
        with (self.base / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, "PATH": PATH}
            )

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait(timeout=120)

    def containers(self) -> list[str]:
        """Return the run ids of the kit's containers that it knows, ended or not."""
        with contextlib.closing(Engine(self.url)) as engine:
            return [c.label for c in engine.labelled(LABEL)]

    def guests(self) -> list[str]:
        """Name every process in a control group of its containers: works without the daemon."""
        found = []
        for pid in processes.pids():
            with contextlib.suppress(OSError):
                if f"{self.parent}/" in Path(f"/proc/{pid}/cgroup").read_text() and processes.is_alive(pid):
                    found.append(processes.describe(pid))
        return found

    def helpers(self) -> list[int]:
        """Return the containerd and the shims that it started: they name its folder on their command line."""
        found = []
        for pid in processes.pids():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
                if f"{self.base}/exec/".encode() in line and processes.is_alive(pid):
                    found.append(pid)
        return found

    def stop(self) -> None:
        """End the daemon and all that it started, and remove its files."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.signal(signal.SIGTERM)
            self.process.kill()
            self.process.wait()
        processes.kill_all(self.helpers())
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(f"{self.base}/")), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=False)
        Cgroup(self.parent).remove()
        shutil.rmtree(self.base)

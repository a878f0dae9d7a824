"""A Podman of the tests' own: everything that it keeps is in one folder. Needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dockerd import PATH

from kit.sandbox import processes

BINARY = shutil.which("podman", path=PATH)


@contextlib.contextmanager
def own_podman() -> Iterator[dict[str, str]]:
    """Give an environment in which Podman uses a new folder; `DOCKER_HOST` is where its service would be."""
    base = Path(tempfile.mkdtemp(prefix="sr-podman-"))
    (base / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{base}/root"\nrunroot = "{base}/run"\n'
    )
    (base / "containers.conf").write_text(
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'tmp_dir = "{base}/tmp"\n'
    )
    try:
        yield {
            **os.environ, "PATH": PATH, "CONTAINERS_STORAGE_CONF": f"{base}/storage.conf",
            "CONTAINERS_CONF": f"{base}/containers.conf", "DOCKER_HOST": f"unix://{base}/podman.sock",
        }  # fmt: skip
    finally:
        # what cleans up after a container can run on when podman has returned
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and any(
            f"{base}/" in _read(pid, "cmdline") for pid in processes.pids()
        ):
            time.sleep(0.1)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(f"{base}/")), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(base)


def guests(base: str) -> set[int]:
    """Return the living processes inside containers of the Podman in `base`, which their mounts name."""
    own = processes.namespace_of(os.getpid())
    return {
        pid
        for pid in processes.pids()
        if "libpod-" in _read(pid, "cgroup")
        and processes.namespace_of(pid) != own
        and f"{base}/" in _read(pid, "mountinfo")
        and processes.is_alive(pid)
    }


def _read(pid: int, name: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    return ""

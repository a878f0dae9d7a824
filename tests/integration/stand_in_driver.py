"""
A driver that stands in for NVIDIA's: real device nodes, and files that are not a driver's.

The nodes have the numbers of a device that no engine allows by default, so a guest can open them only if the
runtime has allowed them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.core.home import default_store
from kit.core.store import Store
from kit.gpu import driver
from kit.gpu.driver import DeviceNode, DriverFiles, Library
from kit.image.build import ensure_layout
from kit.sandbox.folder import new_run_id
from kit.sandbox.run_guest import guest_directory, run_guest
from kit.sandbox.runtime.port import Runtime
from kit.values.deadlines import Deadlines
from kit.values.run_result import RunStatus
from kit.values.run_spec import GIB, MIB, GpuDevice, ImageRef, Limits, RunSpec

FUSE = os.makedev(10, 229)
IMAGES = Path(__file__).parents[2] / "images"
ASK = r"""
import json, os, stat, subprocess
seen = {"devices": {}, "mounts": {}, "env": {}}
for folder, _, names in os.walk("/dev"):
    for name in names:
        path = os.path.join(folder, name)
        info = os.stat(path) if os.path.exists(path) else None
        if info and stat.S_ISCHR(info.st_mode) and "nvidia" in path:
            fd = os.open(path, os.O_RDWR)
            os.close(fd)
            seen["devices"][name] = [os.major(info.st_rdev), os.minor(info.st_rdev), oct(info.st_mode)]
for line in open("/proc/self/mountinfo"):
    fields = line.split()
    if fields[4].startswith("/input/driver/"):
        text = open(fields[4], "rb").read()[:64].hex()
        seen["mounts"][fields[4]] = ["ro" in fields[5].split(","), text]
names = ("LD_LIBRARY_PATH", "PATH", "TRITON_LIBCUDA_PATH")
seen["env"] = {name: os.environ.get(name) for name in names}
seen["nvidia-smi"] = subprocess.run(["nvidia-smi"], stdout=subprocess.DEVNULL).returncode
print(json.dumps(seen))
"""


@contextlib.contextmanager
def stand_in() -> Iterator[DriverFiles]:
    """Make the nodes in a directory of their own below /dev, and the files; remove both after the block."""
    with contextlib.ExitStack() as made:
        nodes = Path(tempfile.mkdtemp(prefix="sr-nvidia-", dir="/dev"))
        made.callback(shutil.rmtree, nodes)
        nodes.chmod(0o755)
        for name in ("nvidiactl", "nvidia0"):
            os.mknod(nodes / name, 0o020666, FUSE)
            (nodes / name).chmod(0o666)
        try:
            os.close(os.open(nodes / "nvidia0", os.O_RDWR))
        except OSError as e:
            pytest.skip(f"this kernel has no device 10:229: {e}")
        folder = Path(made.enter_context(tempfile.TemporaryDirectory(prefix="sr-driver-")))
        folder.chmod(0o755)
        libraries = []
        for soname in driver.REQUIRED:
            (folder / soname).write_text(f"stands in for {soname}")
            libraries.append(Library(soname, folder / soname))
        devices = tuple(
            DeviceNode(f"{nodes.name}/{name}", os.major(FUSE), os.minor(FUSE))
            for name in ("nvidiactl", "nvidia0")
        )
        yield DriverFiles(tuple(libraries), Path("/bin/true").resolve(), devices)


def seen_inside(runtime: Runtime, scratch: Path, rootfs: Path | None = None) -> dict[str, object]:
    """Return what a guest with one GPU sees of devices, driver files and environment, in the image `cpu`."""
    layout = ensure_layout("cpu", IMAGES, Store(default_store()), ())
    with guest_directory(scratch, "seen-") as directory:
        submission = directory / "submission"
        submission.mkdir()
        submission.chmod(0o755)
        (submission / "ask.py").write_text(ASK)
        (submission / "ask.py").chmod(0o444)
        spec = RunSpec(
            run_id=new_run_id(0),
            image=ImageRef("cpu", layout.config_digest, layout.manifest_digest, rootfs),
            submission=submission,
            argv=("python3", "ask.py"),
            env=tuple(sorted({**dict(layout.env), "PATH": "/usr/local/bin:/usr/bin:/bin"}.items())),
            limits=Limits(memory=GIB, pids=64, shm=MIB, workspace=MIB, tmp=MIB),
            deadlines=Deadlines(start_s=300, warmup_s=300, stall_s=300, teardown_s=300, total_s=300),
            gpus=1,
            gpu_devices=(GpuDevice("GPU-0", 0),),
        )
        with run_guest(runtime, spec, directory, watched=True) as run:
            assert run.result.status is RunStatus.COMPLETED, run.output.stderr_tail()
            assert run.enforcement.not_enforced == ()
            document: dict[str, object] = json.loads(run.output.stdout())
    return document

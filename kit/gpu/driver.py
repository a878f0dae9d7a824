"""
The files of this machine's NVIDIA driver that a guest needs: found here, given to it by the runtime.

The driver is the one part of a GPU run that no image can hold: its user-space half must be of the kernel
module's version. Opens no device and asks no GPU.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.core.errors import PrerequisiteError

INSIDE = PurePosixPath("/input/driver")
"""Where a guest of runc sees the files: below a tmpfs, so that the read-only root needs no mount point."""
REQUIRED = ("libcuda.so.1", "libnvidia-ml.so.1")
OPTIONAL = ("libnvidia-nvvm.so.4", "libnvidia-nvvm70.so.4", "libnvidia-ptxjitcompiler.so.1")
"""What libcuda loads to compile PTX; which of them exist depends on the driver's version."""
CONTROL = ("nvidiactl", "nvidia-uvm")
TOOLS = ("nvidia-uvm-tools",)
"""
There on most machines. Left out: nvidia-modeset drives displays, nvidia-caps belong to MIG, which is refused,
and nvidia-nvswitch* is the fabric manager's.
"""
LIBRARY_FOLDERS = tuple(
    map(
        Path,
        (
            "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/nvidia/lib64",
            "/usr/local/nvidia/lib", "/usr/lib/wsl/lib", "/run/opengl-driver/lib",
        ),
    )
)  # fmt: skip
"""Where to look beside the linker's cache."""
PROGRAM_FOLDERS = (
    "/usr/bin:/usr/local/bin:/usr/local/nvidia/bin:/bin:/usr/lib/wsl/lib:/run/current-system/sw/bin"
)
ELF = b"\x7fELF"
CACHED = re.compile(r"^\s*(\S+) \(libc6,x86-64[^)]*\) => (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A character device of the driver."""

    name: str
    """Below /dev."""
    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class Library:
    """A library of the driver."""

    soname: str
    path: Path
    """The file itself, not a link to it."""


@dataclass(frozen=True, slots=True)
class DriverFiles:
    """All that a guest gets of the driver."""

    libraries: tuple[Library, ...]
    smi: Path
    devices: tuple[DeviceNode, ...]
    """Control devices first, then one for each GPU in the order of the ranks."""

    def mounts(self) -> tuple[tuple[Path, PurePosixPath], ...]:
        """Return (file here, file inside) for every file, sorted by the latter."""
        mounts = [(lib.path, INSIDE / "lib" / lib.soname) for lib in self.libraries]
        # programs that link with -lcuda, as Triton 3.0 makes them, look for the name without a version
        mounts += [
            (lib.path, INSIDE / "lib" / "libcuda.so") for lib in self.libraries if lib.soname == REQUIRED[0]
        ]
        mounts.append((self.smi, INSIDE / "bin" / "nvidia-smi"))
        return tuple(sorted(mounts, key=lambda pair: str(pair[1])))


def environment(env: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return `env` with the driver's libraries and nvidia-smi on its paths, sorted by name."""
    given = dict(env)
    libraries, programs = str(INSIDE / "lib"), str(INSIDE / "bin")
    added = {
        "LD_LIBRARY_PATH": _joined(libraries, given.get("LD_LIBRARY_PATH")),
        "PATH": _joined(given.get("PATH"), programs),
        "TRITON_LIBCUDA_PATH": libraries,
    }
    return tuple(sorted({**given, **added}.items()))


def _joined(*paths: str | None) -> str:
    return ":".join(path for path in paths if path)


def linker_cache() -> str:
    """Return what `ldconfig -p` prints; nothing, where there is no ldconfig."""
    program = shutil.which("ldconfig", path="/sbin:/usr/sbin:/bin:/usr/bin")
    if program is None:
        return ""
    try:
        output = subprocess.run([program, "-p"], capture_output=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return os.fsdecode(output)  # paths, in whatever bytes they are


def find_driver_files(
    minors: tuple[int, ...],
    dev: Path = Path("/dev"),
    cache: Callable[[], str] = linker_cache,
    folders: tuple[Path, ...] = LIBRARY_FOLDERS,
    programs: str = PROGRAM_FOLDERS,
) -> DriverFiles:
    """
    Find the driver's files and the devices of the GPUs with these minor numbers, in that order.

    Raises `PrerequisiteError` naming the first that is missing and what brings it. Whether the libraries
    are of the loaded module's version is not checked: NVML refuses to answer if its own is not.
    """
    cached = dict(reversed(CACHED.findall(cache())))  # the first entry of a name wins
    libraries = [_library(name, cached, folders, required=True) for name in REQUIRED]
    libraries += [_library(name, cached, folders, required=False) for name in OPTIONAL]
    smi = _nvidia_smi(programs)
    devices = [_device(dev, name) for name in CONTROL]
    devices += [_device(dev, name) for name in TOOLS if (dev / name).exists()]
    devices += [_device(dev, f"nvidia{minor}") for minor in minors]
    return DriverFiles(tuple(lib for lib in libraries if lib), smi, tuple(devices))


def _nvidia_smi(programs: str) -> Path:
    """Return the program itself: a wrapper script of the machine's would start what a guest does not have."""
    wrapper = None
    for folder in programs.split(os.pathsep):
        path = Path(folder) / "nvidia-smi"
        if not (path.is_file() and os.access(path, os.X_OK)):
            continue
        with path.open("rb") as f:
            if f.read(len(ELF)) == ELF:
                return path.resolve()
        wrapper = wrapper or path
    if wrapper is not None:
        raise PrerequisiteError(
            f"{wrapper} is a script, and the program that it starts was not found in {programs}",
            "link the driver's own nvidia-smi into /usr/local/bin",
        )
    raise PrerequisiteError(
        "nvidia-smi is not here, and upstream's scripts call it",
        "install the driver's nvidia-utils-<version>",
    )


def _library(
    soname: str, cached: dict[str, str], folders: tuple[Path, ...], required: bool
) -> Library | None:
    places = [Path(cached[soname])] if soname in cached else []
    places += [folder / soname for folder in folders]
    path = next((place for place in places if place.is_file()), None)
    if path is not None:
        return Library(soname, path.resolve())
    if required:
        raise PrerequisiteError(
            f"the driver's library {soname} is not here", "install the driver's libnvidia-compute-<version>"
        )
    return None


def _device(dev: Path, name: str) -> DeviceNode:
    fix = (
        "make it with: nvidia-modprobe -u -c=0"
        if name.startswith("nvidia-uvm")
        else "make it with: nvidia-smi"
    )
    try:
        status = (dev / name).stat()
    except OSError as e:
        raise PrerequisiteError(f"/dev/{name} is not here", f"{fix} (as root)") from e
    if not stat.S_ISCHR(status.st_mode):
        raise PrerequisiteError(f"/dev/{name} is not a device", f"remove it, then {fix} (as root)")
    return DeviceNode(name, os.major(status.st_rdev), os.minor(status.st_rdev))

"""
Find the files of this machine's NVIDIA driver that a guest needs; the runtime mounts them.

An image cannot contain the driver, because its user-space libraries must match the version of the kernel
module. This module opens no device.
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
"""Directory of the files inside a guest: on a tmpfs, so that the read-only root needs no mount point."""
REQUIRED = ("libcuda.so.1", "libnvidia-ml.so.1")
OPTIONAL = ("libnvidia-nvvm.so.4", "libnvidia-nvvm70.so.4", "libnvidia-ptxjitcompiler.so.1")
"""Libraries that libcuda loads to compile PTX; which of them exist depends on the driver's version."""
CONTROL = ("nvidiactl", "nvidia-uvm")
TOOLS = ("nvidia-uvm-tools",)
"""
Present on most machines. Left out: nvidia-modeset (displays), nvidia-caps (MIG, which is refused) and
nvidia-nvswitch* (fabric manager).
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
"""Directories to search in addition to the linker's cache."""
PROGRAM_FOLDERS = (
    "/usr/bin:/usr/local/bin:/usr/local/nvidia/bin:/bin:/usr/lib/wsl/lib:/run/current-system/sw/bin"
)
ELF = b"\x7fELF"
CACHED = re.compile(r"^\s*(\S+) \(libc6,x86-64[^)]*\) => (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A character device of the driver."""

    name: str
    """File name in /dev."""
    major: int
    minor: int
    mode: int = 0o666
    """Permission bits on this machine. Docker and Podman copy them; runc's guests get 0666."""


@dataclass(frozen=True, slots=True)
class Library:
    """A library of the driver."""

    soname: str
    path: Path
    """The real file, with symbolic links resolved."""


@dataclass(frozen=True, slots=True)
class DriverFiles:
    """All driver files and devices that a guest gets."""

    libraries: tuple[Library, ...]
    smi: Path
    devices: tuple[DeviceNode, ...]
    """Control devices first, then one device per GPU in rank order."""

    def mounts(self) -> tuple[tuple[Path, PurePosixPath], ...]:
        """Return (path on the host, path in the guest) for every file, sorted by the latter."""
        mounts = [(lib.path, INSIDE / "lib" / lib.soname) for lib in self.libraries]
        # programs linked with -lcuda, such as those of Triton 3.0, need the name without a version
        mounts += [
            (lib.path, INSIDE / "lib" / "libcuda.so") for lib in self.libraries if lib.soname == REQUIRED[0]
        ]
        mounts.append((self.smi, INSIDE / "bin" / "nvidia-smi"))
        return tuple(sorted(mounts, key=lambda pair: str(pair[1])))


def environment(env: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return `env`, sorted by name, with the driver's libraries and nvidia-smi added to its search paths."""
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
    """Return the output of `ldconfig -p`; empty if ldconfig is missing or fails."""
    program = shutil.which("ldconfig", path="/sbin:/usr/sbin:/bin:/usr/bin")
    if program is None:
        return ""
    try:
        output = subprocess.run([program, "-p"], capture_output=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return os.fsdecode(output)  # paths need not be valid UTF-8


def find_driver_files(
    minors: tuple[int, ...],
    dev: Path = Path("/dev"),
    cache: Callable[[], str] = linker_cache,
    folders: tuple[Path, ...] = LIBRARY_FOLDERS,
    programs: str = PROGRAM_FOLDERS,
) -> DriverFiles:
    """
    Find the driver's files and the devices of the GPUs with these minor numbers, in that order.

    Raises `PrerequisiteError` naming the first missing file and how to install it. Does not check that the
    libraries match the version of the loaded module: NVML itself fails if its library does not.
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
    """Return the path of the nvidia-smi binary; a wrapper script would start files that the guest lacks."""
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
            f"{wrapper} is a wrapper script, and the nvidia-smi binary was not found in {programs}",
            "link the driver's nvidia-smi binary into /usr/local/bin",
        )
    raise PrerequisiteError(
        "nvidia-smi not found; upstream's scripts call it",
        "install the driver's package nvidia-utils-<version>",
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
            f"driver library {soname} not found", "install the driver's package libnvidia-compute-<version>"
        )
    return None


def _device(dev: Path, name: str) -> DeviceNode:
    fix = "nvidia-modprobe -u -c=0" if name.startswith("nvidia-uvm") else "nvidia-smi"
    try:
        status = (dev / name).stat()
    except OSError as e:
        raise PrerequisiteError(f"/dev/{name} not found", f"create it as root: {fix}") from e
    if not stat.S_ISCHR(status.st_mode):
        raise PrerequisiteError(
            f"/dev/{name} is not a device", f"create it again as root: rm /dev/{name} && {fix}"
        )
    mode = stat.S_IMODE(status.st_mode)
    return DeviceNode(name, os.major(status.st_rdev), os.minor(status.st_rdev), mode)

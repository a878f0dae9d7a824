"""
What the NVIDIA driver says of this machine's GPUs, through NVML. Judges nothing and changes no setting.

The port is `Nvml`; `Driver` is the real one, with NVIDIA's binding loaded when it is first asked, and
`Visible` shows a part of what another says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from kit.core.errors import PrerequisiteError, RunError
from kit.core.extras import install_command

SIGNS = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidiactl"))
"""Either is there once the driver is loaded."""
VISIBLE_FIX = "name whole GPUs by index or UUID (nvidia-smi -L), or: unset CUDA_VISIBLE_DEVICES"


class Fabric(StrEnum):
    """How far the links between GPUs on a board with switches are set up."""

    NONE = "none"
    """There is no such fabric, or the driver does not say."""
    PENDING = "pending"
    """CUDA refuses to start until it is ready."""
    READY = "ready"


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that computes on a GPU."""

    pid: int
    """As this process's PID namespace sees it; 0 if it does not."""
    memory: int | None
    """Bytes; None where the driver does not say."""


@dataclass(frozen=True, slots=True)
class DriverGpu:
    """One GPU as the driver sees it."""

    index: int
    """In the order of the PCI bus, as nvidia-smi counts."""
    name: str
    uuid: str
    minor: int
    """It is /dev/nvidia<minor>, which need not be its index."""
    memory: int
    """Bytes in all."""
    used: int
    """Bytes that somebody holds; without what the driver keeps for itself, where it tells them apart."""
    mig: bool = False
    """Whether it is cut into instances."""
    fabric: Fabric = Fabric.NONE
    processes: tuple[GpuProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """All GPUs of a machine at one moment."""

    driver: str | None
    """Version of the kernel driver; None where none is loaded."""
    gpus: tuple[DriverGpu, ...]
    hidden: int = 0
    """GPUs that are here, but not for this user to use: see `Visible`."""


NOTHING = Inventory(None, ())


class Nvml(Protocol):
    """Answers what is there now."""

    def read(self) -> Inventory:
        """
        Return the machine's GPUs; none, if no driver is loaded.

        Raises `PrerequisiteError` if a driver is loaded but cannot be asked, `RunError` if it fails.
        """


class Driver:
    """The driver of this machine."""

    def __init__(self, signs: tuple[Path, ...] = SIGNS) -> None:
        self._signs = signs

    def read(self) -> Inventory:
        """See `Nvml.read`."""
        if not any(sign.exists() for sign in self._signs):
            return NOTHING
        with _session() as nvml:
            count = nvml.nvmlDeviceGetCount()
            return Inventory(nvml.nvmlSystemGetDriverVersion(), tuple(_gpu(nvml, i) for i in range(count)))


class Visible:
    """
    The GPUs of another source that `CUDA_VISIBLE_DEVICES` names, in its order; schedulers share machines so.

    A name is an index in the order of the PCI bus, or a UUID or the beginning of one, as CUDA has it. See:
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables
    """

    def __init__(self, source: Nvml, named: str) -> None:
        self._source, self._named = source, named

    def read(self) -> Inventory:
        """See `Nvml.read`; raises `PrerequisiteError` also for a name that is no GPU's, or a GPU's twice."""
        inventory = self._source.read()
        names = [name.strip() for name in self._named.split(",") if name.strip()]
        chosen = tuple(_named(inventory.gpus, name) for name in names) if inventory.gpus else ()
        if len({gpu.uuid for gpu in chosen}) < len(chosen):
            raise PrerequisiteError(f"CUDA_VISIBLE_DEVICES={self._named} names a GPU twice", VISIBLE_FIX)
        return Inventory(inventory.driver, chosen, len(inventory.gpus) - len(chosen))


def _named(gpus: tuple[DriverGpu, ...], name: str) -> DriverGpu:
    if name.isdecimal():
        matches = [gpu for gpu in gpus if gpu.index == int(name)]
    else:
        matches = [gpu for gpu in gpus if gpu.uuid.startswith(name)]
    if len(matches) != 1:
        raise PrerequisiteError(
            f"CUDA_VISIBLE_DEVICES names {name!r}, which is not one of the {len(gpus)} GPUs here", VISIBLE_FIX
        )
    return matches[0]


@contextlib.contextmanager
def _session() -> Iterator[Any]:
    try:
        import pynvml
    except ImportError as e:
        raise PrerequisiteError(
            "an NVIDIA driver is here, but Python cannot ask it", install_command("gpu")
        ) from e
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as e:
        raise _unavailable(pynvml, e) from e
    try:
        yield pynvml
    except pynvml.NVMLError as e:
        raise RunError(
            f"the NVIDIA driver failed: {e}", "see what it logged: dmesg | grep -i -e nvrm -e xid"
        ) from e
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _unavailable(pynvml: Any, e: Any) -> PrerequisiteError:
    fixes = {
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "its libraries are newer than the loaded module: reboot",
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "install the driver's libraries (libnvidia-compute-<version>)",
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "load it with: modprobe nvidia",
        pynvml.NVML_ERROR_NO_PERMISSION: "allow this user to read and write /dev/nvidiactl",
    }
    return PrerequisiteError(
        f"the NVIDIA driver does not answer: {e}", fixes.get(e.value, "see what it says to: nvidia-smi")
    )


def _gpu(nvml: Any, index: int) -> DriverGpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = _memory(nvml, handle)
    return DriverGpu(
        index=index,
        name=nvml.nvmlDeviceGetName(handle),
        uuid=nvml.nvmlDeviceGetUUID(handle),
        minor=nvml.nvmlDeviceGetMinorNumber(handle),
        memory=memory.total,
        used=memory.used,
        mig=_optional(nvml, lambda: nvml.nvmlDeviceGetMigMode(handle)[0]) == nvml.NVML_DEVICE_MIG_ENABLE,
        fabric=_fabric(nvml, handle),
        processes=tuple(
            GpuProcess(p.pid, p.usedGpuMemory)
            for p in _optional(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or ()
        ),
    )


def _memory(nvml: Any, handle: Any) -> Any:
    # version 1 counts what the driver reserves for itself as used
    newer = _optional(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle, nvml.nvmlMemory_v2))
    return newer or nvml.nvmlDeviceGetMemoryInfo(handle)


def _fabric(nvml: Any, handle: Any) -> Fabric:
    from ctypes import byref

    info = nvml.c_nvmlGpuFabricInfo_v2_t()
    if _optional(nvml, lambda: nvml.nvmlDeviceGetGpuFabricInfoV(handle, byref(info))) is None:
        return Fabric.NONE
    if info.state == nvml.NVML_GPU_FABRIC_STATE_COMPLETED:
        return Fabric.READY
    return Fabric.NONE if info.state == nvml.NVML_GPU_FABRIC_STATE_NOT_SUPPORTED else Fabric.PENDING


def _optional(nvml: Any, ask: Callable[[], Any]) -> Any:
    """Return the answer, or None where GPU or driver do not know the question."""
    unknown = (
        nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND, nvml.NVML_ERROR_NO_PERMISSION,
        nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    )  # fmt: skip
    try:
        return ask()
    except nvml.NVMLError as e:
        if e.value in unknown:
            return None
        raise

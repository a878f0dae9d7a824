"""
Read this machine's GPUs from the NVIDIA driver, through NVML. Changes no setting.

`Nvml` is the interface. `Driver` implements it and loads NVIDIA's Python binding on first use. `VisibleGpus`
restricts another implementation to the GPUs in `CUDA_VISIBLE_DEVICES`.
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
"""At least one of these exists if the driver is loaded."""
VISIBLE_FIX = "list each GPU once by index or UUID (see nvidia-smi -L), or: unset CUDA_VISIBLE_DEVICES"


class Fabric(StrEnum):
    """State of the NVLink fabric between GPUs on a board with switches."""

    NONE = "none"
    """There is no fabric, or the driver does not report it."""
    PENDING = "pending"
    """CUDA refuses to start until it is ready."""
    READY = "ready"


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A compute process on a GPU."""

    pid: int
    """The pid in this PID namespace; 0 if the process is not visible in it."""
    memory: int | None
    """Bytes; None if the driver does not report it."""


@dataclass(frozen=True, slots=True)
class DriverGpu:
    """One GPU as the driver reports it."""

    index: int
    """Position on the PCI bus, as in nvidia-smi."""
    name: str
    uuid: str
    minor: int
    """Number of its device /dev/nvidia<minor>; can differ from `index`."""
    memory: int
    """Total memory in bytes."""
    used: int
    """Bytes in use, without the driver's reserve if the driver reports it separately."""
    mig: bool = False
    """Whether MIG mode is on."""
    fabric: Fabric = Fabric.NONE
    processes: tuple[GpuProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """All GPUs of a machine at one moment."""

    driver: str | None
    """Version of the kernel driver; None if it is not loaded."""
    gpus: tuple[DriverGpu, ...]
    hidden: int = 0
    """Number of GPUs that `CUDA_VISIBLE_DEVICES` hides: see `VisibleGpus`."""


NO_DRIVER = Inventory(None, ())


class Nvml(Protocol):
    """Interface: reads the current GPU inventory."""

    def read(self) -> Inventory:
        """
        Return the machine's GPUs; none if no driver is loaded.

        Raises `PrerequisiteError` if a driver is loaded but NVML is unavailable, `RunError` if it fails.
        """


class Driver:
    """Reads the GPUs of this machine's driver."""

    def __init__(self, signs: tuple[Path, ...] = SIGNS) -> None:
        self._signs = signs

    def read(self) -> Inventory:
        """See `Nvml.read`."""
        if not any(sign.exists() for sign in self._signs):
            return NO_DRIVER
        with _session() as nvml:
            count = nvml.nvmlDeviceGetCount()
            return Inventory(nvml.nvmlSystemGetDriverVersion(), tuple(_gpu(nvml, i) for i in range(count)))


class VisibleGpus:
    """
    Reads the GPUs that `CUDA_VISIBLE_DEVICES` lists, in its order; schedulers use it to share machines.

    As in CUDA, an entry is an index in PCI bus order, or a UUID or its beginning. See:
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables
    """

    def __init__(self, source: Nvml, named: str) -> None:
        self._source, self._named = source, named

    def read(self) -> Inventory:
        """See `Nvml.read`. Also raises `PrerequisiteError` for an unknown GPU or one that is listed twice."""
        inventory = self._source.read()
        names = [name.strip() for name in self._named.split(",") if name.strip()]
        chosen = tuple(_named(inventory.gpus, name) for name in names) if inventory.gpus else ()
        if len({gpu.uuid for gpu in chosen}) < len(chosen):
            raise PrerequisiteError(f"CUDA_VISIBLE_DEVICES={self._named} lists a GPU twice", VISIBLE_FIX)
        return Inventory(inventory.driver, chosen, len(inventory.gpus) - len(chosen))


def _named(gpus: tuple[DriverGpu, ...], name: str) -> DriverGpu:
    if name.isdecimal():
        matches = [gpu for gpu in gpus if gpu.index == int(name)]
    else:
        matches = [gpu for gpu in gpus if gpu.uuid.startswith(name)]
    if len(matches) != 1:
        raise PrerequisiteError(
            f"CUDA_VISIBLE_DEVICES lists {name!r}, which does not match exactly one GPU of this machine",
            VISIBLE_FIX,
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
            f"the NVIDIA driver failed: {e}", "check the kernel log: dmesg | grep -i -e nvrm -e xid"
        ) from e
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _unavailable(pynvml: Any, e: Any) -> PrerequisiteError:
    fixes = {
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "reboot to load the kernel module of the installed driver",
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "install the driver's package libnvidia-compute-<version>",
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "load it with: modprobe nvidia",
        pynvml.NVML_ERROR_NO_PERMISSION: "allow this user to read and write /dev/nvidiactl",
    }
    return PrerequisiteError(
        f"the NVIDIA driver does not answer: {e}",
        fixes.get(e.value, "run nvidia-smi and fix the error that it reports"),
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
    """Return the answer of `ask`, or None if the GPU or driver does not support the query."""
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

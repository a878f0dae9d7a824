"""FAKE GPUs: an NVML that says what a test wants, and the files of a driver that is nowhere installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kit.core.errors import KitError
from kit.gpu.driver import DeviceNode, DriverFiles, Library
from kit.gpu.nvml import DriverGpu, Inventory
from kit.gpu.preflight import Sources
from kit.values.run_spec import MIB

DRIVER = "550.54.15"
H100 = "NVIDIA H100 80GB HBM3"


def fake_gpu(index: int, **changed) -> DriverGpu:
    """An idle H100; minor numbers run against the indices, as they may on a real machine."""
    gpu = DriverGpu(
        index=index,
        name=H100,
        uuid=f"GPU-fa4e0000-0000-0000-0000-{index:012d}",
        minor=7 - index,
        memory=81559 * MIB,
        used=4 * MIB,
    )
    return replace(gpu, **changed)


def fake_inventory(count: int = 8, driver: str = DRIVER, **changed) -> Inventory:
    """As many idle H100s; `changed` is what differs on the last one."""
    gpus = [fake_gpu(i) for i in range(count)]
    if gpus:
        gpus[-1] = replace(gpus[-1], **changed)
    return Inventory(driver, tuple(gpus))


class FakeNvml:
    """Gives the answers in turn, the last one for ever; an error is raised."""

    def __init__(self, *answers: Inventory | KitError) -> None:
        self._answers = list(answers)
        self.asked = 0

    def read(self) -> Inventory:
        self.asked += 1
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
        if isinstance(answer, KitError):
            raise answer
        return answer


def fake_files(minors: tuple[int, ...]) -> DriverFiles:
    """The files of a driver as Debian lays them out."""
    folder = Path("/usr/lib/x86_64-linux-gnu")
    names = ("libcuda.so.1", "libnvidia-ml.so.1", "libnvidia-nvvm.so.4", "libnvidia-ptxjitcompiler.so.1")
    libraries = tuple(Library(n, folder / f"{n.partition('.so')[0]}.so.{DRIVER}") for n in names)
    control = (
        DeviceNode("nvidiactl", 195, 255),
        DeviceNode("nvidia-uvm", 511, 0),
        DeviceNode("nvidia-uvm-tools", 511, 1),
    )
    gpus = tuple(DeviceNode(f"nvidia{minor}", 195, minor) for minor in minors)
    return DriverFiles(libraries, Path("/usr/bin/nvidia-smi"), (*control, *gpus))


def fake_sources(*answers: Inventory | KitError, files=fake_files) -> Sources:
    """Sources that know a machine which is not there."""
    return Sources(nvml=FakeNvml(*answers), files=files)

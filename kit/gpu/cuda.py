"""Which NVIDIA driver a CUDA version needs. Facts with their source; asks no machine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kit.core.version import Version, parse

SOURCE = "CUDA Toolkit release notes, table of corresponding driver versions (Linux x86-64)"

SHIPPED = {
    (12, 0): "525.60.13",
    (12, 1): "530.30.02",
    (12, 2): "535.54.03",
    (12, 3): "545.23.06",
    (12, 4): "550.54.14",
    (12, 5): "555.42.02",
    (12, 6): "560.28.03",
    (12, 8): "570.26",
    (12, 9): "575.51.03",
    (13, 0): "580.65.06",
}
"""Driver that came with the first release of each CUDA version: from it on, everything works."""

FLOOR = {12: "525.60.13", 13: "580.65.06"}
"""
Oldest driver that runs programs of a CUDA major version, with limits: it cannot compile PTX of a newer CUDA.
See: https://docs.nvidia.com/deploy/cuda-compatibility/
"""


class DriverSupport(StrEnum):
    """How a driver suits a CUDA version."""

    FULL = "full"
    LIMITED = "limited"
    """It runs by minor-version compatibility alone."""
    TOO_OLD = "too-old"
    UNKNOWN = "unknown"
    """One of the versions is in no table."""


@dataclass(frozen=True, slots=True)
class CudaRequirement:
    """What a CUDA version needs of the driver."""

    full: str
    """Driver from which on everything works."""
    floor: str
    """Oldest driver that runs it at all."""


def cuda_requirement(cuda: Version) -> CudaRequirement | None:
    """Return what CUDA (major, minor) needs; None if it is in no table."""
    major, minor = cuda[0], cuda[1]
    return CudaRequirement(SHIPPED[major, minor], FLOOR[major]) if (major, minor) in SHIPPED else None


def driver_support(driver: str, cuda: Version) -> DriverSupport:
    """Tell how a driver suits a CUDA version; a newer driver runs every older CUDA."""
    required, have = cuda_requirement(cuda), parse(driver)
    if required is None or have is None:
        return DriverSupport.UNKNOWN
    if have >= (parse(required.full) or ()):
        return DriverSupport.FULL
    return DriverSupport.LIMITED if have >= (parse(required.floor) or ()) else DriverSupport.TOO_OLD

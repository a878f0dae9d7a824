"""Tables of the NVIDIA driver that each CUDA version needs, with their source."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kit.core.version import Version, parse

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
"""
Driver shipped with the first release of each CUDA version. This driver and newer ones support it fully.
Source: CUDA Toolkit release notes, table of corresponding driver versions (Linux x86-64).
"""

FLOOR = {12: "525.60.13", 13: "580.65.06"}
"""
Oldest driver that runs programs of a CUDA major version. Limit: it cannot compile PTX of a newer CUDA.
See: https://docs.nvidia.com/deploy/cuda-compatibility/
"""


class DriverSupport(StrEnum):
    """How well a driver supports a CUDA version."""

    FULL = "full"
    LIMITED = "limited"
    """Supported only through minor-version compatibility."""
    TOO_OLD = "too-old"
    UNKNOWN = "unknown"
    """One of the versions is not in the tables."""


@dataclass(frozen=True, slots=True)
class CudaRequirement:
    """The driver versions that a CUDA version needs."""

    full: str
    """Oldest driver with full support."""
    floor: str
    """Oldest driver that runs it, with limits."""


def cuda_requirement(cuda: Version) -> CudaRequirement | None:
    """Return the drivers that CUDA (major, minor) needs; None if the version is not in the tables."""
    major, minor = cuda[0], cuda[1]
    return CudaRequirement(SHIPPED[major, minor], FLOOR[major]) if (major, minor) in SHIPPED else None


def driver_support(driver: str, cuda: Version) -> DriverSupport:
    """Return how well a driver supports a CUDA version; a newer driver supports every older CUDA."""
    required, have = cuda_requirement(cuda), parse(driver)
    if required is None or have is None:
        return DriverSupport.UNKNOWN
    if have >= (parse(required.full) or ()):
        return DriverSupport.FULL
    return DriverSupport.LIMITED if have >= (parse(required.floor) or ()) else DriverSupport.TOO_OLD

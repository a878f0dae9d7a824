"""All faults of the crash table. Each is injected for real and returns a one-line outcome."""

from __future__ import annotations

import clocks
import crowds
import disks
import outages
from fault import Fault

FAULTS: tuple[Fault, ...] = (*disks.FAULTS, *clocks.FAULTS, *outages.FAULTS, *crowds.FAULTS)

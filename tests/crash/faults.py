"""Every fault that can be made around a kit; each is made for real, and says in one line what came of it."""

from __future__ import annotations

import clocks
import crowds
import disks
import outages
from fault import Fault

FAULTS: tuple[Fault, ...] = (*disks.FAULTS, *clocks.FAULTS, *outages.FAULTS, *crowds.FAULTS)

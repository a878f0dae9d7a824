"""The deadlines of a run, as records and profiles state them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds on the host's monotonic clock after which the guest is killed."""

    start_s: float = 300.0
    warmup_s: float = 1500.0
    stall_s: float = 600.0
    """Longest time without a new step; runs only after the warm-up."""
    teardown_s: float = 120.0
    total_s: float = 3600.0

"""Which task a run does: the benchmark's own, or its small stand-in."""

from __future__ import annotations

from enum import StrEnum


class Profile(StrEnum):
    """How much of the real task was run."""

    FULL = "full"
    SMOKE = "smoke"
    """CPU and synthetic data; never ranked."""

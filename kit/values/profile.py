"""The profile of a run: the full task or the small smoke task."""

from __future__ import annotations

from enum import StrEnum


class Profile(StrEnum):
    """The size of the task."""

    FULL = "full"
    SMOKE = "smoke"
    """CPU and synthetic data; never ranked."""

"""The software that makes a result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kit:
    """The software that made the result."""

    version: str
    commit: str | None
    """40 hexadecimal digits if it ran from a checkout."""

"""The kit's version, as a result states it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kit:
    """The kit that made the result."""

    version: str
    commit: str | None
    """40 hexadecimal digits if the kit ran from a checkout."""

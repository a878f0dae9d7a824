"""How near an image's component is to what a record ran, in one word. Judges no component."""

from __future__ import annotations

from enum import StrEnum


class Fidelity(StrEnum):
    """How near a component is to the one that the record was set with."""

    EXACT = "exact"
    NEAREST_STABLE = "nearest-stable"
    """The record ran a nightly that is gone; this is the first release after it."""
    NEAREST = "nearest"
    UNKNOWN = "unknown"
    """Upstream does not say what the record ran."""

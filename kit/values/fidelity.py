"""Fidelity: how close an image's component is to the one that the record ran on."""

from __future__ import annotations

from enum import StrEnum


class Fidelity(StrEnum):
    """How close a component's version is to the record's."""

    EXACT = "exact"
    NEAREST_STABLE = "nearest-stable"
    """The record ran on a nightly build that no longer exists; this is the first release after it."""
    NEAREST = "nearest"
    UNKNOWN = "unknown"
    """Upstream does not state the record's version."""

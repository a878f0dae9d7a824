"""
Word the two times of a run in one way: `train time` and `wall time`.

The train time is what the ranking counts: as the script printed it or, with `~`, the host's measurement if
the script prints none. The wall time is the whole run on the host's clock.
"""

from __future__ import annotations

from kit.result.predicate import Predicate

TRAIN, WALL = "train time", "wall time"
OTHER_MACHINES = "times of start and target are the records', of other machines; see --start-time"
"""Warning for a score by times that this machine did not measure."""


def train_time(p: Predicate) -> str:
    """Return a run's train time, or `-`."""
    if p.claims.train_time_ms is not None:
        return f"{p.claims.train_time_ms / 1000:.1f} s"
    wall = p.observations.train_wall_s
    return "-" if wall is None else f"~{wall:.1f} s"


def wall_time(p: Predicate) -> str:
    """Return a run's wall time."""
    return f"{p.observations.wall_s:.1f} s"

"""
Compare the guest's clock with the host's, line by line, for `trace.clock` and `trace.pace`.

Every script stops its clock for a validation: between a step's training line and its validation line only the
host's clock may run. All other time counts, including compilation during training and time between a
validation line and the next training line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from kit.values.run_result import Point

SETTLED_S = 2.0
"""Seconds at both ends of a run in which the least delayed line counts: stamps are late, never early."""


@dataclass(frozen=True, slots=True)
class TimedLine:
    """A line with both clocks and their difference on arrival."""

    host_s: float
    """Seconds on the host's clock since the guest's start."""
    claimed_s: float
    """Seconds on the guest's clock."""
    trained_s: float
    """Seconds on the host's clock since the first of these lines, without validations."""
    lag_s: float
    """Seconds of `trained_s` that the guest's clock misses."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One line with the guest's time and the host's stamp, in seconds."""

    point: Point
    host_s: float
    claimed_s: float


def readings(points: Iterable[Point]) -> Iterator[Reading]:
    """Yield the lines with both clocks, in order of arrival."""
    for p in points:
        if p.host_ns is not None and p.train_time_ms is not None:
            yield Reading(p, p.host_ns / 1e9, p.train_time_ms / 1e3)


def leads(points: Iterable[Point]) -> Iterator[float]:
    """Yield the seconds by which the host's clock is ahead, for each line with both clocks."""
    return (r.host_s - r.claimed_s for r in readings(points))


def follow(points: Sequence[Point], untimed_steps: int, training_every: int = 1) -> list[TimedLine]:
    """
    Return the line that ends the untimed steps, if there is one, and all lines after it.

    At that line the guest resets its clock. Lines without both clocks are left out.
    """
    both = readings(points)
    last_untimed: Reading | None = None
    first = next(both, None)
    while first is not None and first.point.step <= untimed_steps:
        last_untimed, first = first, next(both, None)
    reset = last_untimed is not None and last_untimed.point.step == untimed_steps
    begin = last_untimed if reset else first
    if begin is None:
        return []
    lines = [TimedLine(begin.host_s, 0.0 if reset else begin.claimed_s, 0.0, 0.0)]
    rest = chain((first,), both) if reset and first is not None else both
    for before, after in pairwise(chain((begin,), rest)):
        last = lines[-1]
        host_s, claimed_s = after.host_s - last.host_s, after.claimed_s - last.claimed_s
        if _is_validation(before.point, after.point, training_every):
            host_s = min(host_s, claimed_s)
        lag_s = last.lag_s + host_s - claimed_s
        lines.append(TimedLine(after.host_s, after.claimed_s, last.trained_s + host_s, lag_s))
    return lines


def settled_lag_s(lines: Sequence[TimedLine]) -> float:
    """Return the seconds that the guest's clock lost over the run, without late stamps."""
    span = lines[-1].host_s - lines[0].host_s
    window = min(SETTLED_S, span / 4)
    first = min(line.lag_s for line in lines if line.host_s <= lines[0].host_s + window)
    last = min(line.lag_s for line in lines if line.host_s >= lines[-1].host_s - window)
    return last - first


def _is_validation(before: Point, after: Point, training_every: int) -> bool:
    """Return whether the second line validates the first line's step; there the guest's clock may stop."""
    if after.val_loss is None or before.val_loss is not None:
        return False
    return before.step <= after.step < before.step + training_every

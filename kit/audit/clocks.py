"""
The guest's clock beside the host's, line by line: what `trace.clock` and `trace.pace` judge. Judges nothing.

Every script stops its clock for a validation: between the training line of a step and its validation line the
host's clock may run on alone. Nowhere else: compiling within training counts, and so does what a script does
between a validation line and the next training line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from kit.values.run_result import Point

SETTLED_S = 2.0
"""Seconds at both ends of a run whose promptest line counts: stamps may come late, never early."""


@dataclass(frozen=True, slots=True)
class TimedLine:
    """A line with both clocks, and how far they were apart when it came."""

    host_s: float
    """Seconds of the host since the guest's start."""
    claimed_s: float
    """By the guest's own clock."""
    trained_s: float
    """The host's seconds since the first of these lines, less validations."""
    lag_s: float
    """How much of `trained_s` the guest's clock does not show."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One line that the guest timed and the host stamped. Seconds."""

    point: Point
    host_s: float
    claimed_s: float


def readings(points: Iterable[Point]) -> Iterator[Reading]:
    """Yield the lines that show both clocks, in the order of their arrival."""
    for p in points:
        if p.host_ns is not None and p.train_time_ms is not None:
            yield Reading(p, p.host_ns / 1e9, p.train_time_ms / 1e3)


def leads(points: Iterable[Point]) -> Iterator[float]:
    """Yield how many seconds the host's clock was ahead of the guest's, at each line that shows both."""
    return (r.host_s - r.claimed_s for r in readings(points))


def follow(points: Sequence[Point], untimed_steps: int, training_every: int = 1) -> list[TimedLine]:
    """
    Return the lines after the untimed steps, and before them the line that ends these, if it is there.

    At that line the guest sets its clock to zero. Lines without both clocks are left out.
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
    """Return how much the guest's clock lost from the first lines to the last; late stamps do not count."""
    span = lines[-1].host_s - lines[0].host_s
    window = min(SETTLED_S, span / 4)
    first = min(line.lag_s for line in lines if line.host_s <= lines[0].host_s + window)
    last = min(line.lag_s for line in lines if line.host_s >= lines[-1].host_s - window)
    return last - first


def _is_validation(before: Point, after: Point, training_every: int) -> bool:
    """Tell whether the second line validates the first's step: there the guest's clock may stand still."""
    if after.val_loss is None or before.val_loss is not None:
        return False
    return before.step <= after.step < before.step + training_every

"""
Derive the claims and observations of a predicate from a RunResult. A verifier derives them again.

The values always fit the schema, whatever the guest printed, so that every run ends with a record.
"""

from __future__ import annotations

import math
from dataclasses import replace

from kit.core.codec import prose
from kit.result.predicate import Claims, Observations, ValPoint
from kit.values.log import Grammar
from kit.values.run_result import PhaseTime, Point, RunResult

MAX_VAL_POINTS = 4096
"""Validation points that a bundle stores; upstream's longest log has about 80."""
MAX_REMAINS = 64
SAFE = 2**53 - 1
"""The largest integer that every JSON parser reads exactly."""


def claims_of(points: tuple[Point, ...], grammar: Grammar) -> Claims:
    """
    Return the guest's claims, from all its points in order.

    The same points always give the same claims, so a verifier can repeat this from the stored log.
    """
    val = tuple(p for p in points if p.val_loss is not None)
    last = _val_point(val[-1]) if val else None
    return Claims(
        grammar=grammar,
        steps=_safe(val[-1].total_steps) or None if val else None,
        final_step=last.step if last else None,
        final_val_loss=last.val_loss if last else None,
        train_time_ms=last.train_time_ms if last else None,
        val_points=tuple(_val_point(p) for p in _kept(val)),
        val_points_printed=len(val),
    )


def host_ms_of(points: tuple[Point, ...]) -> tuple[float | None, ...]:
    """Return the host's stamp of each validation point that `claims_of` keeps, in milliseconds."""
    val = tuple(p for p in points if p.val_loss is not None)
    return tuple(None if p.host_ns is None else p.host_ns / 1e6 for p in _kept(val))


def count_training_lines(points: tuple[Point, ...]) -> int:
    """Return the number of a run's training lines."""
    return sum(p.val_loss is None for p in points)


def observations_of(result: RunResult) -> Observations:
    """Return the host's observations of the run."""
    remains = tuple(prose(name) for name in result.teardown.remains[:MAX_REMAINS])
    return Observations(
        wall_s=result.wall_s,
        train_wall_s=None if result.train_wall_s is None else min(result.train_wall_s, result.wall_s),
        phases=_phases(result),
        output_bytes=result.output_bytes,
        output_lines=result.output_lines,
        usage=result.usage,
        teardown=replace(result.teardown, remains=remains),
        val_point_host_ms=host_ms_of(result.points),
    )


def _phases(result: RunResult) -> tuple[PhaseTime, ...]:
    """Shorten the phases so that their sum does not exceed the run: its last lines may be read later."""
    left, cut = result.wall_s, []
    for time in result.phases:
        seconds = min(max(time.seconds, 0.0), left)
        left -= seconds
        cut.append(replace(time, seconds=seconds))
    return tuple(cut)


def _kept(val: tuple[Point, ...]) -> tuple[Point, ...]:
    return val if len(val) <= MAX_VAL_POINTS else (*val[: MAX_VAL_POINTS - 1], val[-1])


def _val_point(point: Point) -> ValPoint:
    loss = point.val_loss
    return ValPoint(
        step=_safe(point.step),
        val_loss=loss if loss is not None and math.isfinite(loss) else None,
        train_time_ms=None if point.train_time_ms is None else _safe(point.train_time_ms),
    )


def _safe(number: int) -> int:
    return max(-SAFE, min(SAFE, number))

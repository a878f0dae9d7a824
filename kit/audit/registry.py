"""The list of all checks, in the order in which a result lists them."""

from __future__ import annotations

from kit.audit import baseline, canary, evidence, floor, held_out, source, trace
from kit.audit.check import Check

CHECKS: tuple[Check, ...] = (
    floor.FLOOR,
    evidence.LAST_STEP,
    evidence.TRAINING_LINES,
    evidence.VALIDATION_LINES,
    evidence.TIMES,
    trace.CLOCK,
    trace.PACE,
    trace.MONOTONE,
    trace.FIRST_LOSS,
    trace.CADENCE,
    trace.SHAPE,
    source.PARSE,
    *source.CHECKS.values(),
    source.SIZE,
    *canary.SCREENS.values(),
    canary.TO_END,
    canary.VERSUS_BASELINE,
    held_out.HELD_OUT,
    baseline.WARMUP,
    baseline.UNTIMED_OVERHEAD,
    baseline.SPEED,
    baseline.STEPS,
    baseline.VALIDATION,
)


def check(name: str) -> Check | None:
    """Return the check with this id, or None."""
    return next((c for c in CHECKS if c.id == name), None)

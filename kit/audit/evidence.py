"""
`evidence.*`: check that a run's printed lines are complete: training, validation, last step, times.

A missing line leaves its steps unproved. The expected lines follow from the run's last step and from the
record's file (`kit.values.cadence`), never from the log. `points` are all claims in order of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from kit.audit.check import Check
from kit.audit.finding import Finding, Severity
from kit.values.cadence import Cadence
from kit.values.run_result import Point

WIDEST_GAP = 2
"""Largest gap between two validations, in validation intervals of the start script."""

_LINES = "false values on complete lines"

LAST_STEP = Check(
    "evidence.last_step", Severity.FATAL,
    "a run that does not end with the validation of its announced last step, or announces several last steps",
    "steps that use fewer tokens, or are counted twice",
)  # fmt: skip
TRAINING_LINES = Check(
    "evidence.training_lines", Severity.FATAL,
    "missing, repeated or unordered training lines, at the start script's interval", _LINES,
)  # fmt: skip
VALIDATION_LINES = Check(
    "evidence.validation_lines", Severity.FATAL,
    "no validation at step 0, or more than twice the start script's interval between two validations", _LINES,
)  # fmt: skip
TIMES = Check(
    "evidence.times", Severity.FATAL,
    "a line without the host's stamp, or without a time if the record's script prints one",
    "a false time (see `trace.clock` and `trace.pace`)",
)  # fmt: skip


def judge(points: Sequence[Point], cadence: Cadence) -> tuple[Finding, ...]:
    """Run every check of this module on all claims of one run."""
    return (
        last_step(points),
        training_lines(points, cadence),
        validation_lines(points, cadence),
        times(points, cadence),
    )


def last_step(points: Sequence[Point]) -> Finding:
    """
    Check that the last claim is the validation of the last step, which all lines must announce alike.

    The check is skipped for a run that ended earlier: such a run gets the verdict `failed`.
    """
    val = [p for p in points if p.val_loss is not None]
    totals = sorted({p.total_steps for p in points if p.total_steps})
    if len(totals) > 1:
        return LAST_STEP.failed(f"lines announce different last steps: {totals[0]} and {totals[1]}")
    if not val or not totals:
        return LAST_STEP.skipped("no validation line announces a last step")
    total, last = totals[0], val[-1].step
    furthest = max(p.step for p in points)
    if furthest > total:
        return LAST_STEP.failed(f"a line names step {furthest}, after the last step {total}")
    if last < total:
        return LAST_STEP.skipped(f"the last validation is at step {last} of {total}")
    if points[-1] is not val[-1]:
        return LAST_STEP.failed(f"a line came after the validation of the last step {total}")
    return LAST_STEP.passed(f"the run ends with the validation of step {total} of {total}", steps=total)


def training_lines(points: Sequence[Point], cadence: Cadence) -> Finding:
    """Check that every interval up to the last validation has one training line, in order."""
    every = cadence.training_every
    if every is None:
        return TRAINING_LINES.skipped("the record's script prints no training lines")
    last = max((p.step for p in points if p.val_loss is not None), default=None)
    if last is None:
        return TRAINING_LINES.skipped("there is no validation line, so the last step is unknown")
    printed, validated = [0], 0
    for p in points:
        if p.val_loss is not None:
            validated = max(validated, p.step)
        elif p.step:
            if p.step <= max(printed[-1], validated):
                return TRAINING_LINES.failed(f"the training line of step {p.step} is late or repeated")
            printed.append(p.step)
    owed = cadence.training_lines(last) or 0
    on_stride = [step for step in printed if step % every == 0 and step <= last]
    figures = {"expected": owed, "seen": len(printed) - 1}
    missing = owed - (len(on_stride) - 1)
    if missing:
        first = next((a + every for a, b in pairwise(on_stride) if b - a > every), on_stride[-1] + every)
        detail = f"{missing} of {owed} training lines are missing, the first at step {first}"
        return TRAINING_LINES.failed(detail, **figures)
    return TRAINING_LINES.passed(f"all {owed} training lines up to step {last} are there", **figures)


def validation_lines(points: Sequence[Point], cadence: Cadence) -> Finding:
    """Check that the run validates at step 0 if the start script does, and at least half as often."""
    steps = [p.step for p in points if p.val_loss is not None]
    if not steps:
        return VALIDATION_LINES.skipped("there is no validation line")
    widest = WIDEST_GAP * cadence.validation_every
    figures = {"expected": cadence.validation_lines(steps[-1]), "seen": len(steps), "widest_gap": widest}
    if cadence.validates_start and steps[0] != 0:
        return VALIDATION_LINES.failed(f"the first validation is at step {steps[0]}, not 0", **figures)
    for before, after in pairwise((0, *steps)):
        if after - before > widest:
            detail = (
                f"no validation between steps {before} and {after}; the largest allowed gap is {widest} steps"
            )
            return VALIDATION_LINES.failed(detail, **figures)
    return VALIDATION_LINES.passed(f"{len(steps)} validation lines up to step {steps[-1]}", **figures)


def times(points: Sequence[Point], cadence: Cadence) -> Finding:
    """Check that every line has the host's stamp and, if the record's script prints a clock, a time."""
    if not points:
        return TIMES.skipped("there are no lines")
    unstamped = next((p for p in points if p.host_ns is None), None)
    if unstamped is not None:
        return TIMES.failed(f"a line of step {unstamped.step} has no host stamp")
    timeless = next((p for p in points if p.train_time_ms is None), None)
    if not cadence.guest_clock:
        return TIMES.passed("the record's script prints no clock, so the host's clock counts")
    if timeless is not None:
        return TIMES.failed(f"a line of step {timeless.step} has no time, but the record's script prints one")
    return TIMES.passed(f"all {len(points)} lines have a time and a host stamp")

"""
`evidence.*`: whether a run printed every line that its record's script prints. Knows no losses and no code.

A line that is missing proves nothing about the steps that it stood for. Which lines a run owes follows from
its own last step and from the record's file (`kit.values.cadence`), never from the lines that are there.
Points are all claims in the order of their arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from kit.audit.check import Check
from kit.audit.finding import Finding, Severity
from kit.values.cadence import Cadence
from kit.values.run_result import Point

WIDEST_GAP = 2
"""How many of the start script's gaps a submission may leave between two validations."""

_LINES = "false figures on lines that are all there"

LAST_STEP = Check(
    "evidence.last_step", Severity.FATAL,
    "a run whose last line is not the validation of its announced last step, or that announces several",
    "steps that take fewer tokens, or that are counted twice",
)  # fmt: skip
TRAINING_LINES = Check(
    "evidence.training_lines", Severity.FATAL,
    "training lines that are missing, repeated or out of order, at the start script's stride", _LINES,
)  # fmt: skip
VALIDATION_LINES = Check(
    "evidence.validation_lines", Severity.FATAL,
    "no validation at step 0, or a gap of more than twice the start script's between two of them", _LINES,
)  # fmt: skip
TIMES = Check(
    "evidence.times", Severity.FATAL,
    "a line without the host's stamp or, where the record's script has a clock, without its time",
    "a time that is false (see `trace.clock` and `trace.pace`)",
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
    The last claim must be the validation of the one last step that all lines announce.

    A run that ended before is skipped: it has no verdict but `failed`, and the check earns nothing.
    """
    val = [p for p in points if p.val_loss is not None]
    totals = sorted({p.total_steps for p in points if p.total_steps})
    if len(totals) > 1:
        return LAST_STEP.failed(f"its lines announce {totals[0]} steps and {totals[1]}")
    if not val or not totals:
        return LAST_STEP.skipped("no validation line announces a last step")
    total, last = totals[0], val[-1].step
    furthest = max(p.step for p in points)
    if furthest > total:
        return LAST_STEP.failed(f"a line names step {furthest} of {total}")
    if last < total:
        return LAST_STEP.skipped(f"the last validation line is of step {last} of {total}")
    if points[-1] is not val[-1]:
        return LAST_STEP.failed(f"another line came after the validation of the last step, {total}")
    return LAST_STEP.passed(f"it ends with the validation of step {total} of {total}", steps=total)


def training_lines(points: Sequence[Point], cadence: Cadence) -> Finding:
    """Each stride up to the last validated step owes one training line, in order, before its validation."""
    every = cadence.training_every
    if every is None:
        return TRAINING_LINES.skipped("the record's script prints no training lines")
    last = max((p.step for p in points if p.val_loss is not None), default=None)
    if last is None:
        return TRAINING_LINES.skipped("there is no validation line that says how far the run came")
    printed, validated = [0], 0
    for p in points:
        if p.val_loss is not None:
            validated = max(validated, p.step)
        elif p.step:
            if p.step <= max(printed[-1], validated):
                return TRAINING_LINES.failed(f"the training line of step {p.step} came late, or twice")
            printed.append(p.step)
    owed = cadence.training_lines(last) or 0
    on_stride = [step for step in printed if step % every == 0 and step <= last]
    figures = {"expected": owed, "seen": len(printed) - 1}
    missing = owed - (len(on_stride) - 1)
    if missing:
        first = next((a + every for a, b in pairwise(on_stride) if b - a > every), on_stride[-1] + every)
        detail = f"{missing} of {owed} training lines are missing, the first at step {first}"
        return TRAINING_LINES.failed(detail, **figures)
    return TRAINING_LINES.passed(f"all {owed} training lines came, up to step {last}", **figures)


def validation_lines(points: Sequence[Point], cadence: Cadence) -> Finding:
    """Validate at step 0 if the start script does, and at least every second time that it does."""
    steps = [p.step for p in points if p.val_loss is not None]
    if not steps:
        return VALIDATION_LINES.skipped("there is no validation line")
    widest = WIDEST_GAP * cadence.validation_every
    figures = {"expected": cadence.validation_lines(steps[-1]), "seen": len(steps), "widest_gap": widest}
    if cadence.validates_start and steps[0] != 0:
        return VALIDATION_LINES.failed(f"the first validation line is of step {steps[0]}, not 0", **figures)
    for before, after in pairwise((0, *steps)):
        if after - before > widest:
            detail = f"no validation between steps {before} and {after}; at most {widest} may lie between two"
            return VALIDATION_LINES.failed(detail, **figures)
    return VALIDATION_LINES.passed(f"{len(steps)} validation lines up to step {steps[-1]}", **figures)


def times(points: Sequence[Point], cadence: Cadence) -> Finding:
    """Every line has the host's stamp and, unless the record's script has no clock, a time of its own."""
    if not points:
        return TIMES.skipped("there is no line")
    unstamped = next((p for p in points if p.host_ns is None), None)
    if unstamped is not None:
        return TIMES.failed(f"the host did not stamp a line of step {unstamped.step}")
    timeless = next((p for p in points if p.train_time_ms is None), None)
    if not cadence.guest_clock:
        return TIMES.passed("the record's script prints no clock: the host's is the time")
    if timeless is not None:
        return TIMES.failed(
            f"a line of step {timeless.step} shows no time, but the record's script prints one"
        )
    return TIMES.passed(f"all {len(points)} lines show a time, and the host stamped them")

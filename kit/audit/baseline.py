"""
`baseline.*`: compare a run with its start script's run on the same machine.

The guest declares the phases, so a script could train before its clock starts and replay the lines later. Two
rules limit this. The warm-up may take 1.25 times the start script's plus 15 s. Time outside the script's
clock beyond the start script's is added to its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from kit.audit.check import Check
from kit.audit.finding import Finding, Severity
from kit.values.run_result import Point

WARMUP_FACTOR = 1.25
WARMUP_ROOM_S = 15.0
UNTIMED_OVERHEAD_SHARE = 0.05
UNTIMED_OVERHEAD_ROOM_S = 3.0
"""Untimed overhead above both limits is flagged; all of it is added to the time."""
NEGATIVE_ROOM_S = 1.0
"""Seconds that a run may claim beyond the elapsed time: a pipe may delay its last line this long."""
TOO_FAST = 0.5
FEW_STEPS = 0.5
SHORT_VALIDATION = 0.4
UNTIMED_OVERHEAD_FIGURE = "excess_s"

WARMUP = Check(
    "baseline.warmup", Severity.FATAL,
    "a warm-up longer than 1.25 x the start script's + 15 s",
    "work that fits within that limit; it is added to the time",
)  # fmt: skip
UNTIMED_OVERHEAD = Check(
    "baseline.excess", Severity.WARNING,
    "more time outside the script's clock (start, warm-up, validation) than the start script, or less than 0",
    "work done in time that the start script wastes there",
)  # fmt: skip
SPEED = Check(
    "baseline.speed", Severity.WARNING, "less than half of the start script's time on the same machine",
    "anything slower; no record halved the time of the one before",
)  # fmt: skip
STEPS = Check(
    "baseline.steps", Severity.WARNING,
    "fewer than half of the start script's steps", "the number of tokens in a step",
)  # fmt: skip
VALIDATION = Check(
    "baseline.validation", Severity.WARNING,
    "validations that take less than 0.4 of the start script's time: too few tokens",
    "too few tokens, hidden by waiting",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunTimings:
    """Timings of a run in seconds, on the host's clock except `claimed_s`. None if the run ended earlier."""

    warmup_s: float | None
    """Start and warm-up together."""
    to_last_val_s: float | None
    """From the guest's start to its last validation line."""
    claimed_s: float | None
    """The guest's time; if the record's script has no clock, the host's time of the timed steps."""
    steps: int | None
    validation_s: float | None = None
    """Median time of a validation: from the training line of its step to the validation line."""

    @property
    def outside_s(self) -> float | None:
        """Return the seconds that the guest's clock does not show."""
        if self.to_last_val_s is None or self.claimed_s is None:
            return None
        return self.to_last_val_s - self.claimed_s


def judge(candidate: RunTimings, baseline: RunTimings, share: float = 1.0) -> tuple[Finding, ...]:
    """
    Run every comparison; one that lacks a value on either side is skipped.

    `share` is what the task's target record needs of its start's time or steps, where that is known to be
    less than half: the limits on time, steps and validation are multiplied by it.
    """
    return (
        _warmup(candidate, baseline),
        _untimed_overhead(candidate, baseline),
        _speed(candidate, baseline, TOO_FAST * share),
        _steps(candidate, baseline, FEW_STEPS * share),
        _validation(candidate, baseline, SHORT_VALIDATION * share),
    )


def validation_s(points: Sequence[Point]) -> float | None:
    """Return the median time of the validations after step 0 on the host's clock, or None."""
    took = [
        (after.host_ns - before.host_ns) / 1e9
        for before, after in pairwise(points)
        if after.val_loss is not None and before.val_loss is None and before.step == after.step
        if after.host_ns is not None and before.host_ns is not None
    ]
    return median(took) if took else None


def warmup_bound_s(baseline_s: float) -> float:
    """Return the longest allowed warm-up, given the start script's warm-up on the same machine."""
    return WARMUP_FACTOR * baseline_s + WARMUP_ROOM_S


def _warmup(candidate: RunTimings, baseline: RunTimings) -> Finding:
    if candidate.warmup_s is None or baseline.warmup_s is None:
        return WARMUP.skipped("one of the two runs did not finish its warm-up")
    bound = warmup_bound_s(baseline.warmup_s)
    figures = {"bound_s": bound, "baseline_s": baseline.warmup_s, "candidate_s": candidate.warmup_s}
    detail = f"start and warm-up took {candidate.warmup_s:.1f} s; the limit is {bound:.1f} s"
    if candidate.warmup_s > bound:
        return WARMUP.failed(detail, **figures)
    return WARMUP.passed(detail, **figures)


def _untimed_overhead(candidate: RunTimings, baseline: RunTimings) -> Finding:
    candidate_s, baseline_s = candidate.outside_s, baseline.outside_s
    if candidate_s is None or baseline_s is None:
        return UNTIMED_OVERHEAD.skipped("one of the two runs did not finish", excess_s=0.0)
    untimed_overhead = max(0.0, candidate_s - baseline_s)
    figures = {
        UNTIMED_OVERHEAD_FIGURE: untimed_overhead,
        "outside_s": candidate_s,
        "baseline_outside_s": baseline_s,
    }
    detail = (
        f"{candidate_s:.1f} s outside the script's clock, {baseline_s:.1f} s for the start script;"
        f" {untimed_overhead:.1f} s are added to the time"
    )
    if candidate_s < -NEGATIVE_ROOM_S:
        detail = f"the run claims {-candidate_s:.1f} s more than passed up to its last validation line"
        return UNTIMED_OVERHEAD.failed(detail, **figures)
    claimed = candidate.claimed_s or 0.0
    if untimed_overhead > UNTIMED_OVERHEAD_ROOM_S and untimed_overhead > UNTIMED_OVERHEAD_SHARE * claimed:
        return UNTIMED_OVERHEAD.failed(detail, **figures)
    return UNTIMED_OVERHEAD.passed(detail, **figures)


def _speed(candidate: RunTimings, baseline: RunTimings, least: float) -> Finding:
    if not candidate.claimed_s or not baseline.claimed_s:
        return SPEED.skipped("one of the two runs claims no time")
    ratio = candidate.claimed_s / baseline.claimed_s
    detail = f"the run claims {ratio:.2f} of the start script's time"
    return (SPEED.failed if ratio < least else SPEED.passed)(detail, ratio=ratio)


def _steps(candidate: RunTimings, baseline: RunTimings, least: float) -> Finding:
    if not candidate.steps or not baseline.steps:
        return STEPS.skipped("one of the two runs states no number of steps")
    ratio = candidate.steps / baseline.steps
    detail = f"the run takes {candidate.steps} steps, the start script {baseline.steps}"
    return (STEPS.failed if ratio < least else STEPS.passed)(detail, ratio=ratio)


def _validation(candidate: RunTimings, baseline: RunTimings, least: float) -> Finding:
    if candidate.validation_s is None or not baseline.validation_s:
        return VALIDATION.skipped("one of the two runs has no timed validation")
    figures = {"candidate_s": candidate.validation_s, "baseline_s": baseline.validation_s}
    detail = (
        f"a validation takes {candidate.validation_s:.2f} s, the start script's {baseline.validation_s:.2f} s"
    )
    if candidate.validation_s < least * baseline.validation_s:
        return VALIDATION.failed(detail, **figures)
    return VALIDATION.passed(detail, **figures)

"""
`baseline.*`: a run against its start script's on the same machine. Starts neither.

Phases are declared by the guest, so a script could train before its clock starts and replay the lines later.
Two rules bound what that is worth: the warm-up may take 1.25 times the start script's and 15 s, and what it
needs outside its own clock beyond what the start script needs is added to its time.
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
"""Untimed overhead above both is flagged; any of it is added to the time."""
NEGATIVE_ROOM_S = 1.0
"""How much more time than passed a run may claim: its last line may come that late through a pipe."""
TOO_FAST = 0.5
FEW_STEPS = 0.5
SHORT_VALIDATION = 0.4
UNTIMED_OVERHEAD_FIGURE = "excess_s"

WARMUP = Check(
    "baseline.warmup", Severity.FATAL,
    "work before the first timed step beyond 1.25 x the start script's + 15 s",
    "work that fits under that bound; it is added to the time",
)  # fmt: skip
UNTIMED_OVERHEAD = Check(
    "baseline.excess", Severity.WARNING,
    "time outside the script's own clock beyond the start script's (start, warm-up, validation), or below 0",
    "what the start script itself wastes there, which a script may fill with work of its own",
)  # fmt: skip
SPEED = Check(
    "baseline.speed", Severity.WARNING, "a time below half of the start script's on the same machine",
    "anything slower; no record took half the time of the one before",
)  # fmt: skip
STEPS = Check(
    "baseline.steps", Severity.WARNING,
    "fewer than half of the start script's steps", "how many tokens a step takes",
)  # fmt: skip
VALIDATION = Check(
    "baseline.validation", Severity.WARNING,
    "validations that take less than 0.4 of the start script's time: fewer tokens",
    "fewer tokens, and waiting",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunTimings:
    """How a run went: seconds on the host's clock, except `claimed_s`. None: it did not get there."""

    warmup_s: float | None
    """Of start and warm-up together."""
    to_last_val_s: float | None
    """From the guest's start to its last validation line."""
    claimed_s: float | None
    """The guest's own time; where the record's script has no clock, the host's of its timed steps."""
    steps: int | None
    validation_s: float | None = None
    """Of one validation: from the training line of its step to its own line; the median."""

    @property
    def outside_s(self) -> float | None:
        """Seconds that the guest's own clock does not show."""
        if self.to_last_val_s is None or self.claimed_s is None:
            return None
        return self.to_last_val_s - self.claimed_s


def judge(candidate: RunTimings, baseline: RunTimings) -> tuple[Finding, ...]:
    """Return all comparisons; those without a figure on either side are skipped."""
    return (
        _warmup(candidate, baseline),
        _untimed_overhead(candidate, baseline),
        _speed(candidate, baseline),
        _steps(candidate, baseline),
        _validation(candidate, baseline),
    )


def validation_s(points: Sequence[Point]) -> float | None:
    """Return how long a validation took on the host's clock: the median of all after step 0, or None."""
    took = [
        (after.host_ns - before.host_ns) / 1e9
        for before, after in pairwise(points)
        if after.val_loss is not None and before.val_loss is None and before.step == after.step
        if after.host_ns is not None and before.host_ns is not None
    ]
    return median(took) if took else None


def warmup_bound_s(baseline_s: float) -> float:
    """Return the longest warm-up of a ranked run, from that of the start script on the same machine."""
    return WARMUP_FACTOR * baseline_s + WARMUP_ROOM_S


def _warmup(candidate: RunTimings, baseline: RunTimings) -> Finding:
    if candidate.warmup_s is None or baseline.warmup_s is None:
        return WARMUP.skipped("one of the two runs did not end its warm-up")
    bound = warmup_bound_s(baseline.warmup_s)
    figures = {"bound_s": bound, "baseline_s": baseline.warmup_s, "candidate_s": candidate.warmup_s}
    detail = f"it took {candidate.warmup_s:.1f} s to the end of its warm-up; the bound is {bound:.1f} s"
    if candidate.warmup_s > bound:
        return WARMUP.failed(detail, **figures)
    return WARMUP.passed(detail, **figures)


def _untimed_overhead(candidate: RunTimings, baseline: RunTimings) -> Finding:
    candidate_s, baseline_s = candidate.outside_s, baseline.outside_s
    if candidate_s is None or baseline_s is None:
        return UNTIMED_OVERHEAD.skipped("one of the two runs did not end", excess_s=0.0)
    untimed_overhead = max(0.0, candidate_s - baseline_s)
    figures = {
        UNTIMED_OVERHEAD_FIGURE: untimed_overhead,
        "outside_s": candidate_s,
        "baseline_outside_s": baseline_s,
    }
    detail = (
        f"{candidate_s:.1f} s are outside its clock, {baseline_s:.1f} s of the start script:"
        f" {untimed_overhead:.1f} s are added"
    )
    if candidate_s < -NEGATIVE_ROOM_S:
        detail = f"it claims {-candidate_s:.1f} s more than passed from its start to its last validation line"
        return UNTIMED_OVERHEAD.failed(detail, **figures)
    claimed = candidate.claimed_s or 0.0
    if untimed_overhead > UNTIMED_OVERHEAD_ROOM_S and untimed_overhead > UNTIMED_OVERHEAD_SHARE * claimed:
        return UNTIMED_OVERHEAD.failed(detail, **figures)
    return UNTIMED_OVERHEAD.passed(detail, **figures)


def _speed(candidate: RunTimings, baseline: RunTimings) -> Finding:
    if not candidate.claimed_s or not baseline.claimed_s:
        return SPEED.skipped("one of the two runs claims no time")
    ratio = candidate.claimed_s / baseline.claimed_s
    detail = f"it claims {ratio:.2f} of the start script's time"
    return (SPEED.failed if ratio < TOO_FAST else SPEED.passed)(detail, ratio=ratio)


def _steps(candidate: RunTimings, baseline: RunTimings) -> Finding:
    if not candidate.steps or not baseline.steps:
        return STEPS.skipped("one of the two runs names no number of steps")
    ratio = candidate.steps / baseline.steps
    detail = f"it takes {candidate.steps} steps, the start script {baseline.steps}"
    return (STEPS.failed if ratio < FEW_STEPS else STEPS.passed)(detail, ratio=ratio)


def _validation(candidate: RunTimings, baseline: RunTimings) -> Finding:
    if candidate.validation_s is None or not baseline.validation_s:
        return VALIDATION.skipped("one of the two runs has no timed validation")
    figures = {"candidate_s": candidate.validation_s, "baseline_s": baseline.validation_s}
    detail = (
        f"a validation takes {candidate.validation_s:.2f} s, the start script's {baseline.validation_s:.2f} s"
    )
    if candidate.validation_s < SHORT_VALIDATION * baseline.validation_s:
        return VALIDATION.failed(detail, **figures)
    return VALIDATION.passed(detail, **figures)

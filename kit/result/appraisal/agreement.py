"""
Compare two results of the same work and decide whether they agree.

The reader computes this from both bundles. The tolerances come from the measured spread of honest runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

from kit.benchmark.records import Record
from kit.core.errors import UsageError
from kit.result.appraisal.timing import counted_time
from kit.result.predicate import CompileCache, Isolation, Predicate, Verdict
from kit.result.statement import Statement
from kit.values.hardware import LINK_VARIABLES
from kit.values.profile import Profile
from kit.values.run_result import RunStatus

LOSS_SD_FULL = 0.0017
"""Nats per token: standard deviation of one script's final loss between upstream runs."""
LOSS_SD_SMOKE = 0.0013
"""Nats per token: standard deviation over seeds 1 to 5 of the reference trainer."""
TIME_SD_LEAST = 0.005
"""Share of the time; three runs of a record may agree better than this by chance."""
SIGMAS = 3.0
OF_THE_MACHINE = frozenset({"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", *LINK_VARIABLES})
"""Environment variables that select a machine's devices or disable links between them."""
ENDED_BY_DEADLINE = {RunStatus.TIMED_OUT: "timed out", RunStatus.STALLED: "stalled"}
"""How a run ends because its machine was too slow for a deadline; a slow or busy one may miss any."""


class Agreement(StrEnum):
    """The outcome of comparing two results."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The allowed difference between two runs: `SIGMAS` standard deviations of the difference."""

    loss: float
    """Nats per token, in both directions."""
    time: float
    """Share of the first run's time; a faster rerun always agrees."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of two results. A field is `None` if one of them has no such value."""

    agreement: Agreement
    reasons: tuple[str, ...]
    """Differences and omitted comparisons, as sentences for a person."""
    loss_difference: float | None
    """Second minus first, nats per token."""
    curve_difference: float | None
    """The largest difference at a common validation step; for information only."""
    time_ratio: float | None
    """Second divided by first, with the untimed overhead if both measured it."""
    tolerance: Tolerance


def tolerance(profile: Profile, record: Record) -> Tolerance:
    """Return the difference allowed between two honest runs, from the spread of the record's times."""
    loss = LOSS_SD_SMOKE if profile is Profile.SMOKE else LOSS_SD_FULL
    time = max((record.retimed_sd_ms or 0.0) / record.reference_ms, TIME_SD_LEAST)
    return Tolerance(SIGMAS * sqrt(2) * loss, SIGMAS * sqrt(2) * time)


def require_cold(predicate: Predicate) -> None:
    """Raise `UsageError` for a run that no rerun can be compared with, because its compile cache was warm."""
    if predicate.run.compile_cache is CompileCache.WARM:
        raise UsageError(
            f"run {predicate.run.id} started with a warm compile cache, which only its machine has",
            "choose a run that was made without --compile-cache warm",
        )


def compare(first: Statement, second: Statement, allowed: Tolerance) -> Comparison:
    """
    Compare a result with one that repeats it.

    The results are not comparable if inputs, environment or commands differ, if a run was not contained,
    cancelled or lost, or if a deadline ended one of them and the other one completed. Otherwise they agree if
    verdict and final loss agree. The time is compared only for full runs on the same GPU models.
    """
    a, b = first.predicate, second.predicate
    against = tuple(_comparison_blockers(first, second))
    loss = _difference(a.claims.final_val_loss, b.claims.final_val_loss)
    ratio = _ratio(a, b)
    if against:
        return Comparison(Agreement.NOT_COMPARABLE, against, loss, _curve(a, b), ratio, allowed)
    wrong = list(_contradictions(a, b, allowed))
    notes = [] if _are_times_comparable(a, b) else ["times are not compared: " + _why_not_times(a)]
    if _is_untimed_overhead_left_out(a, b):
        notes.append("untimed overhead is not compared: one of the two runs did not measure it")
    agreement = Agreement.NOT_REPRODUCED if wrong else Agreement.REPRODUCED
    return Comparison(agreement, (*wrong, *notes), loss, _curve(a, b), ratio, allowed)


def _comparison_blockers(first: Statement, second: Statement) -> Iterator[str]:
    a, b = first.predicate, second.predicate
    if first.subjects.submission != second.subjects.submission:
        yield "the submissions differ"
    if (a.task.profile, a.task.id) != (b.task.profile, b.task.id):
        yield "the tasks differ"
    if a.inputs.record_manifest != b.inputs.record_manifest or a.task != b.task:
        yield "the record's facts differ, perhaps because the kit versions differ"
    if a.environment.image is None or a.environment.image != b.environment.image:
        yield "the images differ, or a run used the machine's own files (--image host)"
    data = [sorted((f.name, f.sha256) for f in p.inputs.data.files) for p in (a, b)]
    if data[0] != data[1] or a.inputs.data.val_tokens != b.inputs.data.val_tokens:
        yield "the data files differ"
    if (a.run.argv, a.run.world_size, a.run.gpus) != (b.run.argv, b.run.world_size, b.run.gpus):
        yield "the commands differ"
    changed = sorted({name for name, _ in set(a.run.env) ^ set(b.run.env)} - OF_THE_MACHINE)
    if changed:
        yield f"the environment variables differ: {', '.join(changed)}"
    for p, which in ((a, "first"), (b, "second")):
        if p.environment.isolation.level is not Isolation.CONTAINED:
            yield f"the {which} run was not contained"
        if p.run.compile_cache is CompileCache.WARM:
            yield f"the {which} run started with a warm compile cache"
        if p.run.status in (RunStatus.LOST, RunStatus.CANCELLED):
            yield f"the {which} run was {p.run.status}"
    for p, other, which in ((a, b, "first"), (b, a, "second")):
        if p.run.status in ENDED_BY_DEADLINE and other.run.status is RunStatus.COMPLETED:
            yield f"the {which} run {ENDED_BY_DEADLINE[p.run.status]}, so it has no outcome: {p.run.reason}"


def _contradictions(a: Predicate, b: Predicate, allowed: Tolerance) -> Iterator[str]:
    if a.score.verdict is not b.score.verdict:
        yield f"the first run {_describe_verdict(a)}, the second {_describe_verdict(b)}"
        return
    if a.score.verdict in (Verdict.FAILED, Verdict.REFUSED) and a.run.status is not b.run.status:
        yield f"the first run ended as {a.run.status}, the second as {b.run.status}"
    if a.claims.final_step != b.claims.final_step:
        yield f"the last steps differ: {a.claims.final_step} and {b.claims.final_step}"
    loss = _difference(a.claims.final_val_loss, b.claims.final_val_loss)
    if loss is not None and abs(loss) > allowed.loss:
        yield f"the losses differ by {abs(loss):.4f}; tolerance {allowed.loss:.4f}"
    ratio = _ratio(a, b)
    if _are_times_comparable(a, b) and ratio is not None and ratio > 1 + allowed.time:
        yield f"the second run is {100 * (ratio - 1):.1f} % slower; tolerance {100 * allowed.time:.1f} %"


def _describe_verdict(p: Predicate) -> str:
    verbs = {Verdict.REACHED: "reached the target", Verdict.MISSED: "missed the target"}
    return verbs.get(p.score.verdict, str(p.score.verdict))


def _are_times_comparable(a: Predicate, b: Predicate) -> bool:
    names = [sorted(g.name for g in p.hardware.gpus) for p in (a, b)]
    return a.task.profile is Profile.FULL and bool(names[0]) and names[0] == names[1]


def _why_not_times(a: Predicate) -> str:
    return "smoke runs share their machine" if a.task.profile is Profile.SMOKE else "the GPUs differ"


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else b - a


def _ratio(a: Predicate, b: Predicate) -> float | None:
    first, second = counted_time(a), counted_time(b)
    if first is None or second is None or first.claimed <= 0:
        return None
    if first.untimed_overhead is None or second.untimed_overhead is None:
        return second.claimed / first.claimed
    return second.total / first.total


def _is_untimed_overhead_left_out(a: Predicate, b: Predicate) -> bool:
    times = (counted_time(a), counted_time(b))
    measured = [time is not None and time.untimed_overhead is not None for time in times]
    return _are_times_comparable(a, b) and any(measured) and not all(measured)


def _curve(a: Predicate, b: Predicate) -> float | None:
    before = {v.step: v.val_loss for v in a.claims.val_points}
    gaps = [
        abs(v.val_loss - there)
        for v in b.claims.val_points
        if v.val_loss is not None and (there := before.get(v.step)) is not None
    ]
    return max(gaps, default=None)

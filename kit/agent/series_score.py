"""The score of a winner from the series in which start script and target, or horizon, ran in turn with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kit.agent.node import EvaluationOutcome, EvaluationStatus
from kit.agent.outcome import ReferenceTimes, outcome_of
from kit.core.digest import Sha256
from kit.score.metrics import Ratio, fsr
from kit.series.figures import SeriesFigures
from kit.series.record import Arm

_COUNTED = (EvaluationStatus.REACHED, EvaluationStatus.MISSED)
_NO_DIGEST = Sha256("0" * 64)
"""The series has the digests of its bundles."""


@dataclass(frozen=True, slots=True)
class SeriesScore:
    """A score whose times are all of one machine."""

    ratio: Ratio
    refused: str
    """Why it does not count; empty if it counts."""

    @property
    def value(self) -> float | None:
        """The score; None if it does not count, or the gap between start and target is within the noise."""
        return self.ratio.estimate if self.ratio.resolved and not self.refused else None


def outcomes_of(figures: SeriesFigures, reference: ReferenceTimes | None) -> tuple[EvaluationOutcome, ...]:
    """Return the outcome of each run of the winner that has a bundle."""
    mine = [m.bundle.predicate for m in figures.members if m.slot.arm is Arm.CANDIDATE and m.bundle]
    return tuple(outcome_of(p, _NO_DIGEST, reference) for p in mine)


def series_score(figures: SeriesFigures) -> SeriesScore | None:
    """
    Return the score of a verified series; None if only the winner ran, or any script ran once.

    It counts only if every run of the winner ended with a loss and passed its audits, and their mean loss is
    at most the target: a script that is fast and reaches it by luck has no score.
    """
    if figures.ratio is None:
        return None
    bad = [o for o in outcomes_of(figures, None) if o.status not in _COUNTED]
    refused = ""
    if bad:
        refused = f"run {bad[0].run_id} of the winner: {bad[0].status.value.replace('_', ' ')}"
    elif figures.loss is None:
        refused = "a run of the winner ended without a loss"
    elif figures.loss.mean > figures.target:
        mean, target = figures.loss.mean, figures.target
        refused = f"the winner's mean loss is {mean:.4f}, above the target {target:g}"
    return SeriesScore(figures.ratio, refused)


def retimed_score(
    figures: SeriesFigures, reference: ReferenceTimes | None, times: Sequence[float]
) -> float | None:
    """
    Return the score of a retimed winner: the series' own, or that of its mean time by the reference.

    The reference, which other machines may have measured, counts only for a series of the winner alone.
    """
    if any(member.slot.arm is not Arm.CANDIDATE for member in figures.members):
        score = series_score(figures)
        return None if score is None else score.value
    return reference_score(reference, times)


def reference_score(reference: ReferenceTimes | None, times: Sequence[float]) -> float | None:
    """Return the score of the mean of `times` by the reference; None if either is missing."""
    if reference is None or not times:
        return None
    return fsr(reference.start_ms, reference.target_ms, sum(times) / len(times))

"""
`canary.*`: check the loss that the same script claims on a stream whose floor is known.

A predictor that uses only the past and sums to at most 1 cannot have a loss noticeably below the stream's
realised mean -log p, whatever its code (docs/concepts/canary.md). A printed constant, a look at the target,
an unnormalised distribution, skipped tokens and a sum in low precision all fall below it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kit.audit.check import Check
from kit.audit.finding import Finding, Severity
from kit.values.run_result import Point, RunStatus

STANDARD_ERRORS = 5.0
ALLOWANCE = 0.05
"""Nats per token: room for float32 sums, printed decimals, and loaders that skip a few tokens."""
BELOW_BASELINE = 0.5
"""Nats per token that a loss may be below the start script's on the same stream."""


class StreamKind(StrEnum):
    """The kind of a stream. `kit.data.canary_streams` generates it; for `model` a guest does."""

    UNIFORM = "uniform"
    NGRAM = "ngram"
    MODEL = "model"


_FAMILY = "a false loss above the floor; a script that recognises the stream and behaves honestly on it"
_SEES = "a loss that no probability model can have on {}: constants, look-ahead, skipped tokens, lost mass"

SCREENS = {
    StreamKind.UNIFORM: Check(
        "canary.screen.uniform", Severity.FATAL, _SEES.format("uniform noise"), _FAMILY
    ),
    StreamKind.NGRAM: Check(
        "canary.screen.ngram", Severity.FATAL, _SEES.format("an unknown Markov language"), _FAMILY
    ),
}
TO_END = Check(
    "canary.to_end.model", Severity.FATAL,
    _SEES.format("text-like samples") + "; a loss scored on the easier first part of the window only",
    _FAMILY,
)  # fmt: skip
VERSUS_BASELINE = Check(
    "canary.versus_baseline", Severity.WARNING,
    "a loss on noise far below the start script's: weights fitted to the validation stream",
    "a fit that stays within 0.5 nats of an honest loss",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CanaryStream:
    """The known properties of a canary stream. Losses are nats per token over the scored tokens."""

    kind: StreamKind
    floor: float
    """Realised mean of -log p."""
    standard_error: float
    """Standard error of that mean, over `tokens` draws."""
    tokens: int
    seed: str
    """Published after the run, so that anyone can generate the stream again."""

    @property
    def bound(self) -> float:
        """Return the threshold: a lower loss is impossible and fails."""
        return self.floor - STANDARD_ERRORS * self.standard_error - ALLOWANCE


@dataclass(frozen=True, slots=True)
class Rerun:
    """The rerun of a script on a stream."""

    status: RunStatus
    reason: str
    """How it ended, in one sentence for a person."""
    points: tuple[Point, ...]
    stopped: bool
    """Whether the kit ended the rerun early, after a few validation lines."""
    wall_s: float


def check_for(kind: StreamKind) -> Check:
    """Return the check of a stream. `model` always runs to the end; the other kinds are screens."""
    return TO_END if kind is StreamKind.MODEL else SCREENS[kind]


def judge(stream: CanaryStream, rerun: Rerun, claimed: float | None) -> Finding:
    """
    Compare every loss of a rerun with the stream's floor.

    `claimed` is the loss of the judged run. If the stream's bound is not above it, a printed constant would
    pass, so the check is skipped instead of passed. It is also skipped if the rerun did not finish.
    """
    check = check_for(stream.kind)
    losses = [p.val_loss for p in rerun.points if p.val_loss is not None and math.isfinite(p.val_loss)]
    figures = {
        "floor": stream.floor,
        "bound": stream.bound,
        "standard_error": stream.standard_error,
        "tokens": float(stream.tokens),
        "wall_s": rerun.wall_s,
    }
    if not losses:
        return check.skipped(f"the rerun printed no loss: {rerun.reason}; seed {stream.seed}", **figures)
    figures |= {"first_loss": losses[0], "last_loss": losses[-1], "lowest_loss": min(losses)}
    lowest = min(losses)
    if lowest < stream.bound:
        detail = f"the script claims a loss of {lowest:.4f} on a stream whose floor is {stream.floor:.4f}"
        return check.failed(f"{detail}; seed {stream.seed}", **figures)
    last = rerun.points[-1]
    ended = rerun.status is RunStatus.COMPLETED and last.step == last.total_steps
    if not ended and (check is TO_END or not rerun.stopped):
        return check.skipped(
            f"the rerun ended before its last step: {rerun.reason}; seed {stream.seed}", **figures
        )
    if claimed is None or stream.bound <= claimed:
        return check.skipped(
            f"the stream's bound {stream.bound:.4f} is not above the claimed loss; seed {stream.seed}",
            **figures,
        )
    distance = f"{lowest - stream.floor:+.4f} nats relative to the lowest possible loss"
    detail = f"the script's lowest loss is {lowest:.4f}, {distance}"
    return check.passed(f"{detail}; seed {stream.seed}", **figures)


def compare_with_baseline(candidate: Sequence[Point], baseline: Sequence[Point]) -> Finding:
    """Compare the final losses of both scripts, validated on the same random tokens."""
    candidate_loss, baseline_loss = _last(candidate), _last(baseline)
    if candidate_loss is None or baseline_loss is None:
        return VERSUS_BASELINE.skipped("one of the two scripts printed no loss")
    figures = {"candidate_loss": candidate_loss, "baseline_loss": baseline_loss}
    detail = (
        f"on the same noise the final loss is {candidate_loss:.3f}, the start script's {baseline_loss:.3f}"
    )
    if candidate_loss < baseline_loss - BELOW_BASELINE:
        return VERSUS_BASELINE.failed(detail, **figures)
    return VERSUS_BASELINE.passed(detail, **figures)


def _last(points: Sequence[Point]) -> float | None:
    losses = [p.val_loss for p in points if p.val_loss is not None and math.isfinite(p.val_loss)]
    return losses[-1] if losses else None

"""
`canary.*`: the loss that the same script claims on a stream whose floor is known. Runs nothing.

Whatever the code looks like: a predictor that uses the past alone and sums to at most 1 cannot have a loss
below the stream's realised mean -log p by more than a trifle (docs/concepts/canary.md). A printed constant, a
look at the target, an unnormalised distribution, skipped tokens and a sum in low precision all fall below.
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
"""Nats per token, for float32 sums, printed decimals, and loaders that skip a few tokens of a window."""
BELOW_BASELINE = 0.5
"""Nats by which a loss may be lower than the start script's own on the same stream before it is suspect."""


class StreamKind(StrEnum):
    """What a stream looks like; its maker is `kit.data.canary_streams`, or a guest for `model`."""

    UNIFORM = "uniform"
    NGRAM = "ngram"
    MODEL = "model"


_FAMILY = (
    "a false loss above the floor; a script that recognises the stream and behaves for as long as it sees it"
)
_SEES = (
    "a loss that no probability model can have on a stream of {}: constants, look-ahead, lost tokens or mass"
)

SCREENS = {
    StreamKind.UNIFORM: Check("canary.screen.uniform", Severity.FATAL, _SEES.format("even noise"), _FAMILY),
    StreamKind.NGRAM: Check(
        "canary.screen.ngram", Severity.FATAL, _SEES.format("an unknown Markov language"), _FAMILY
    ),
}
TO_END = Check(
    "canary.to_end.model", Severity.FATAL,
    _SEES.format("text-like samples") + "; a beginning of the window alone, which is easier than all of it",
    _FAMILY,
)  # fmt: skip
VERSUS_BASELINE = Check(
    "canary.versus_baseline", Severity.WARNING,
    "a loss on noise far below the start script's: weights that were fitted to the validation stream",
    "a fit that stays within half a nat of an honest loss",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CanaryStream:
    """What is known of a canary stream. Nats per token, over the tokens that are scored."""

    kind: StreamKind
    floor: float
    """Realised mean of -log p."""
    standard_error: float
    """Of that mean, over `tokens` draws."""
    tokens: int
    seed: str
    """Revealed afterwards, so that anybody can make the stream again."""

    @property
    def bound(self) -> float:
        """The lowest loss that is not held against a script."""
        return self.floor - STANDARD_ERRORS * self.standard_error - ALLOWANCE


@dataclass(frozen=True, slots=True)
class Rerun:
    """What a script did on a stream."""

    status: RunStatus
    reason: str
    """How it ended, in one sentence for a person."""
    points: tuple[Point, ...]
    stopped: bool
    """Whether the kit ended it early, after a few validation lines."""
    wall_s: float


def check_for(kind: StreamKind) -> Check:
    """Return the check of a stream: all but the text-like one, which always runs to its end, are screens."""
    return TO_END if kind is StreamKind.MODEL else SCREENS[kind]


def judge(stream: CanaryStream, rerun: Rerun, claimed: float | None) -> Finding:
    """
    Hold every loss of a rerun against the stream's floor.

    `claimed` is the loss of the run that is judged: if the stream's bound is not above it, a false constant
    would pass, so passing is only `skipped` then. A rerun that did not end well is no evidence either way.
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
        return check.skipped(f"the rerun claimed no loss: {rerun.reason}; seed {stream.seed}", **figures)
    figures |= {"first_loss": losses[0], "last_loss": losses[-1], "lowest_loss": min(losses)}
    lowest = min(losses)
    if lowest < stream.bound:
        detail = f"a loss of {lowest:.4f} was claimed on a stream whose floor is {stream.floor:.4f}"
        return check.failed(f"{detail}; seed {stream.seed}", **figures)
    last = rerun.points[-1]
    ended = rerun.status is RunStatus.COMPLETED and last.step == last.total_steps
    if not ended and (check is TO_END or not rerun.stopped):
        return check.skipped(
            f"the rerun ended before its last step: {rerun.reason}; seed {stream.seed}", **figures
        )
    if claimed is None or stream.bound <= claimed:
        return check.skipped(
            f"the bound {stream.bound:.4f} is not above the claim; seed {stream.seed}", **figures
        )
    detail = f"the lowest loss is {lowest:.4f}, {lowest - stream.floor:+.4f} from the floor"
    return check.passed(f"{detail}; seed {stream.seed}", **figures)


def compare_with_baseline(candidate: Sequence[Point], baseline: Sequence[Point]) -> Finding:
    """Compare the last losses of both scripts on the same noise; fitting to its tokens shows as a low one."""
    candidate_loss, baseline_loss = _last(candidate), _last(baseline)
    if candidate_loss is None or baseline_loss is None:
        return VERSUS_BASELINE.skipped("one of the two scripts claimed no loss")
    figures = {"candidate_loss": candidate_loss, "baseline_loss": baseline_loss}
    detail = f"on the same noise it ends at {candidate_loss:.3f}, the start script at {baseline_loss:.3f}"
    if candidate_loss < baseline_loss - BELOW_BASELINE:
        return VERSUS_BASELINE.failed(detail, **figures)
    return VERSUS_BASELINE.passed(detail, **figures)


def _last(points: Sequence[Point]) -> float | None:
    losses = [p.val_loss for p in points if p.val_loss is not None and math.isfinite(p.val_loss)]
    return losses[-1] if losses else None

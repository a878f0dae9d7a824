"""
`held_out`: whether a script is better on the public validation window than on another. Runs nothing.

Windows differ in difficulty, so the start script runs on both, too: differences of differences count.
"""

from __future__ import annotations

from dataclasses import dataclass

from kit.audit.check import Check
from kit.audit.finding import Finding, Severity

THRESHOLD = 0.02
"""Nats: six standard deviations of a difference of four losses of sd .0017 each."""
Z_80 = 0.84
"""An effect this many standard deviations above the threshold is seen four times out of five."""
SD = 0.0034
"""Of the difference of differences, from seeds alone: 2 x .0017."""

HELD_OUT = Check(
    "held_out", Severity.FATAL,
    "weights, tables or choices that were fitted to the public validation window before the run",
    "a printed constant, a look at the target, and fitting to whatever window is mounted: it counts only "
    "together with the canary",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RerunLosses:
    """Last validation losses of the four runs, nats per token; None if a run did not get there."""

    candidate: float | None
    candidate_rotated: float | None
    baseline: float | None
    baseline_rotated: float | None


def judge(losses: RerunLosses, window: int) -> Finding:
    """Return whether the candidate loses more than the start script by going to window number `window`."""
    four = (losses.candidate, losses.candidate_rotated, losses.baseline, losses.baseline_rotated)
    if any(loss is None for loss in four):
        return HELD_OUT.skipped("one of the four runs has no last loss", window=window)
    candidate, candidate_rotated, baseline, baseline_rotated = (
        float(loss) for loss in four if loss is not None
    )
    effect = (candidate_rotated - candidate) - (baseline_rotated - baseline)
    figures = {
        "candidate": candidate,
        "candidate_rotated": candidate_rotated,
        "baseline": baseline,
        "baseline_rotated": baseline_rotated,
        "effect": effect,
        "threshold": THRESHOLD,
        "detectable": THRESHOLD + Z_80 * SD,
        "window": float(window),
    }
    detail = f"on window {window} it loses {effect:+.4f} nats more than the start script does"
    if effect > THRESHOLD:
        return HELD_OUT.failed(detail, **figures)
    return HELD_OUT.passed(f"{detail}; at least {figures['detectable']:.4f} would be seen", **figures)

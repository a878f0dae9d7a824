"""
`held_out`: check whether a script does better on the public validation text than on other text.

Texts differ in difficulty. So the start script also runs on both, and the two differences are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

from kit.audit.check import Check
from kit.audit.finding import Finding, Severity

DEVIATIONS = 5
"""Standard deviations of the difference above which the check fails."""
Z_80 = 0.84
"""An effect this many standard deviations above the threshold is detected four times out of five."""
FULL_SD = 0.00282
"""Nats per token: four losses, each with upstream's standard deviation of .00141 from run to run."""
SMOKE_SD = 0.002
"""Nats per token. Measured on 8 texts: .0010 between seeds of a script; .0029 for one with half the steps."""

HELD_OUT = Check(
    "held_out", Severity.FATAL,
    "weights, tables or choices fitted to the public validation text before the run, and cheats "
    "that work only on it",
    "a printed constant, a look at the target, fitting to whatever text is mounted; it counts only "
    "together with the canary",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RerunLosses:
    """Last validation losses of the four runs, nats per token; None if a run printed none."""

    candidate: float | None
    candidate_held_out: float | None
    baseline: float | None
    baseline_held_out: float | None


def judge(losses: RerunLosses, sd: float) -> Finding:
    """
    Check that the candidate loses no more than the start script on the held-out text.

    `sd`: the standard deviation of that difference for honest scripts, nats per token.
    """
    four = (losses.candidate, losses.candidate_held_out, losses.baseline, losses.baseline_held_out)
    if any(loss is None for loss in four):
        return HELD_OUT.skipped("one of the four runs has no final loss")
    candidate, candidate_held_out, baseline, baseline_held_out = (
        float(loss) for loss in four if loss is not None
    )
    difference = (candidate_held_out - candidate) - (baseline_held_out - baseline)
    figures = {
        "candidate": candidate,
        "candidate_held_out": candidate_held_out,
        "baseline": baseline,
        "baseline_held_out": baseline_held_out,
        "difference": difference,
        "threshold": DEVIATIONS * sd,
        "detectable": (DEVIATIONS + Z_80) * sd,
    }
    detail = f"on held-out text the loss rises {difference:+.4f} nats more than the start script's"
    if difference > DEVIATIONS * sd:
        return HELD_OUT.failed(f"{detail}; the limit is {figures['threshold']:.4f}", **figures)
    return HELD_OUT.passed(
        f"{detail}; the smallest detectable effect is {figures['detectable']:.4f}", **figures
    )

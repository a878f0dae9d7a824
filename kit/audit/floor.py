"""
`floor`: no honest loss is below the mean -log p of the scored stream. Knows that figure alone.

Gibbs: for tokens drawn independently of the parameters, no predictor that uses the past alone and sums to at
most 1 has a lower expected loss than the language itself. The realised floor of this very stream is compared,
so the only slack is what a lucky predictor can gain on it: `SLACK`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kit.audit.check import Check
from kit.audit.finding import Finding, Severity
from kit.values.run_result import Point

SLACK = 0.01
"""Nats per token: covers four printed decimals and float32 summation."""


FLOOR = Check(
    "floor", Severity.FATAL,
    "in the smoke profile, a loss below the mean -log p of the very stream that was scored",
    "a false loss at or above the floor; the full profile's data have no known floor (see `canary.*`)",
)  # fmt: skip


def check(points: Sequence[Point], floor: float | None) -> Finding:
    """Compare every claimed validation loss with the floor; skipped where the stream's floor is unknown."""
    if floor is None:
        return FLOOR.skipped("the data's floor is not known")
    losses = [p.val_loss for p in points if p.val_loss is not None and math.isfinite(p.val_loss)]
    if not losses:
        return FLOOR.skipped("no loss was claimed", floor=floor)
    lowest = min(losses)
    figures = {"floor": floor, "lowest_val_loss": lowest, "slack": SLACK}
    if lowest < floor - SLACK:
        return FLOOR.failed(
            f"a loss of {lowest:.4f} was claimed, but the stream's own floor is {floor:.4f}", **figures
        )
    return FLOOR.passed(f"the lowest claim is {lowest - floor:+.4f} nats from the floor", **figures)

"""
`floor`: check that no loss is below the mean -log p of the scored stream.

By Gibbs' inequality, no predictor that uses only the past and sums to at most 1 has a lower expected loss
than the source of the tokens. The loss is compared with the realised floor of the same stream, so a lucky
predictor can gain only `SLACK`.
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
    "in the smoke profile, a loss below the mean -log p of the scored stream",
    "a false loss at or above the floor; the full profile's data has no known floor (see `canary.*`)",
)  # fmt: skip


def check(points: Sequence[Point], floor: float | None) -> Finding:
    """Compare every claimed validation loss with the floor; skip the check if the floor is unknown."""
    if floor is None:
        return FLOOR.skipped("the floor of the data is unknown")
    losses = [p.val_loss for p in points if p.val_loss is not None and math.isfinite(p.val_loss)]
    if not losses:
        return FLOOR.skipped("the run printed no finite loss to compare", floor=floor)
    lowest = min(losses)
    figures = {"floor": floor, "lowest_val_loss": lowest, "slack": SLACK}
    if lowest < floor - SLACK:
        return FLOOR.failed(
            f"the run claims a loss of {lowest:.4f}, below the stream's floor of {floor:.4f}", **figures
        )
    return FLOOR.passed(
        f"the lowest claimed loss is {lowest - floor:+.4f} nats relative to the lowest possible loss",
        **figures,
    )

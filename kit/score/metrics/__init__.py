"""
Statistics of scores: FSR, aggregates with bootstrap intervals, tests, power. Imports nothing of the kit.

Needs numpy and scipy. Wrong shapes and sizes raise `ValueError`; nothing is read, printed or seeded here.
"""

from __future__ import annotations

from kit.score.metrics.aggregate import Aggregates, Interval, aggregate, bootstrap, point_estimates
from kit.score.metrics.fsr import Ratio, fieller, fsr, scaled
from kit.score.metrics.significance import MeanTest, mean_below, mean_interval, power, runs_needed

__all__ = [
    "Aggregates",
    "Interval",
    "MeanTest",
    "Ratio",
    "aggregate",
    "bootstrap",
    "fieller",
    "fsr",
    "mean_below",
    "mean_interval",
    "point_estimates",
    "power",
    "runs_needed",
    "scaled",
]

"""
Compute statistics of scores: FSR, aggregates with bootstrap intervals, tests, power.

Needs numpy and scipy, and imports nothing else from kit. Wrong shapes and sizes raise `ValueError`.
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

"""Tests of a mean against a bound, and how many runs such a test needs. Looks at no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MOST_RUNS = 10_000
FARTHEST = 1e6
"""Standard errors from the bound; the power is 1 long before, and beyond 1e8 or so scipy gives NaN."""


@dataclass(frozen=True, slots=True)
class MeanTest:
    """A one-sided t-test of a mean."""

    runs: int
    mean: float
    sd: float
    """Of the sample; NaN for one run."""
    p: float
    """That a true mean at the bound or above would give a sample mean as low as this; NaN for one run."""


def mean_below(values: Sequence[float], bound: float) -> MeanTest:
    """
    Test whether the true mean is below `bound`, values being normal and independent.

    Equal values prove as much as they show: p is 0 below the bound, 1 above it, 0.5 on it.
    Raises `ValueError` without a value or with one that is not finite.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size == 0 or not np.isfinite(sample).all():
        raise ValueError("at least one value is needed, and all finite")
    mean = float(sample.mean())
    if sample.size == 1:
        return MeanTest(1, mean, float("nan"), float("nan"))
    sd = float(sample.std(ddof=1))
    if sd == 0.0 or bool((sample == sample[0]).all()):
        return MeanTest(sample.size, mean, 0.0, 0.5 * (1 + float(np.sign(sample[0] - bound))))
    t = (mean - bound) / (sd / np.sqrt(sample.size))
    return MeanTest(sample.size, mean, sd, float(stats.t.cdf(t, sample.size - 1)))


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the true mean of normal, independent values; at least two, all finite."""
    sample = np.asarray(values, dtype=float)
    if sample.size < 2 or not np.isfinite(sample).all():
        raise ValueError("an interval needs at least two values, and all finite")
    half = float(stats.t.ppf((1 + level) / 2, sample.size - 1) * sample.std(ddof=1) / np.sqrt(sample.size))
    return float(sample.mean()) - half, float(sample.mean()) + half


def power(runs: int, sd: float, margin: float, alpha: float = 0.01) -> float:
    """
    Return how probable it is that the test of `runs` runs succeeds at level `alpha`.

    `margin` is how far the true mean is below the bound, `sd` how runs differ; both in the same unit.
    """
    if runs < 2 or sd <= 0 or not 0 < alpha < 1:
        raise ValueError("power needs at least two runs, a positive sd and a level between 0 and 1")
    freedom = runs - 1
    critical = stats.t.ppf(1 - alpha, freedom)
    return float(stats.nct.sf(critical, freedom, min(margin / sd * np.sqrt(runs), FARTHEST)))


def runs_needed(sd: float, margin: float, target_power: float = 0.8, alpha: float = 0.01) -> int:
    """
    Return the fewest runs whose test succeeds with probability `target_power`.

    Raises `ValueError` if more than 10,000 would be needed, or if the margin is not positive.
    """
    if margin <= 0:
        raise ValueError("no number of runs shows a margin that is not there")
    low, high = 2, 2
    while power(high, sd, margin, alpha) < target_power:
        low, high = high, 2 * high
        if high > MOST_RUNS:
            raise ValueError(f"more than {MOST_RUNS} runs")
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, sd, margin, alpha) >= target_power else (middle + 1, high)
    return low

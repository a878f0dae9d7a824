"""Test a mean against a bound, and compute how many runs such a test needs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MOST_RUNS = 10_000
FARTHEST = 1e6
"""Largest distance from the bound, in standard errors: the power is 1 here; scipy gives NaN beyond 1e8."""


@dataclass(frozen=True, slots=True)
class MeanTest:
    """A one-sided t-test of a mean."""

    runs: int
    mean: float
    sd: float
    """Standard deviation of the sample; NaN for one run."""
    p: float
    """Probability of a sample mean this low if the true mean is at the bound; NaN for one run."""


def mean_below(values: Sequence[float], bound: float) -> MeanTest:
    """
    Test whether the true mean is below `bound`, assuming normal and independent values.

    If all values are equal, p is 0 below the bound, 1 above it and 0.5 on it.
    Raises `ValueError` for no value and for a value that is not finite.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size == 0 or not np.isfinite(sample).all():
        raise ValueError("a mean test needs at least one value, and finite values only")
    if sample.size == 1:
        return MeanTest(1, float(sample[0]), float("nan"), float("nan"))
    if bool((sample == sample[0]).all()):
        side = float(np.sign(sample[0] - bound))
        return MeanTest(sample.size, float(sample[0]), 0.0, 0.5 * (1 + side))
    p = float(_t_test(sample, bound).pvalue)
    return MeanTest(sample.size, float(sample.mean()), float(sample.std(ddof=1)), p)


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the true mean of at least two normal, independent, finite values."""
    sample = np.asarray(values, dtype=float)
    if sample.size < 2 or not np.isfinite(sample).all():
        raise ValueError("an interval needs at least two values, and finite values only")
    if bool((sample == sample[0]).all()):
        return float(sample[0]), float(sample[0])
    interval = _t_test(sample, 0.0, "two-sided").confidence_interval(level)
    return float(interval.low), float(interval.high)


def _t_test(sample: NDArray[np.float64], bound: float, alternative: str = "less") -> Any:
    with warnings.catch_warnings():  # scipy warns about nearly equal values; the answer is good enough
        warnings.simplefilter("ignore", RuntimeWarning)
        return stats.ttest_1samp(sample, bound, alternative=alternative)


def power(runs: int, sd: float, margin: float, alpha: float = 0.01) -> float:
    """
    Return the probability that the test of `runs` runs succeeds at level `alpha`.

    `margin` is the distance of the true mean below the bound; `sd` is the standard deviation of the runs, in
    the same unit.
    """
    if runs < 2 or sd <= 0 or not 0 < alpha < 1:
        raise ValueError("power needs at least two runs, a positive sd, and a level between 0 and 1")
    freedom = runs - 1
    critical = stats.t.ppf(1 - alpha, freedom)
    return float(stats.nct.sf(critical, freedom, min(margin / sd * np.sqrt(runs), FARTHEST)))


def runs_needed(sd: float, margin: float, target_power: float = 0.8, alpha: float = 0.01) -> int:
    """
    Return the smallest number of runs whose test succeeds with probability `target_power`.

    Raises `ValueError` if it is above 10,000, or if the margin is not positive.
    """
    if margin <= 0:
        raise ValueError(f"the margin must be positive, not {margin}")
    low, high = 2, 2
    while power(high, sd, margin, alpha) < target_power:
        low, high = high, 2 * high
        if high > MOST_RUNS:
            raise ValueError(f"more than {MOST_RUNS} runs are needed")
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, sd, margin, alpha) >= target_power else (middle + 1, high)
    return low

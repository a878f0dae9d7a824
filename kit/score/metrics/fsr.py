"""Compute the fraction of speedup recovered (FSR) and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


def fsr(start: float, target: float, candidate: float) -> float:
    """
    Return (start - candidate) / (start - target), for three times in the same unit.

    FSR is 0 at the start record's time and 1 at the target's. It is below 0 if the candidate is slower than
    the start, and above 1 if it is faster than the target. Nothing is clipped. Raises `ValueError` if the
    target is not faster than the start.
    """
    if not target < start:
        raise ValueError(f"the target ({target}) is not faster than the start ({start})")
    return (start - candidate) / (start - target)


def scaled(start_here: float, start_there: float, target_there: float) -> float:
    """
    Estimate the target's time on this machine by scaling it like the start record's.

    This is an assumption, not a measurement: use it only if the target did not run here, and label it.
    """
    if not min(start_here, start_there, target_there) > 0:
        raise ValueError("times must be positive")
    return target_there * start_here / start_there


@dataclass(frozen=True, slots=True)
class Ratio:
    """FSR from samples of all three arms, with Fieller's interval."""

    estimate: float
    """FSR of the means; NaN if start and target have the same mean."""
    low: float
    high: float
    """Low and high are infinite if the gap between start and target is not significant."""
    resolved: bool
    """False if the gap between start and target is not significant: then the FSR is undefined."""
    level: float


def fieller(
    start: Sequence[float], target: Sequence[float], candidate: Sequence[float], level: float = 0.95
) -> Ratio:
    """
    Return FSR and its interval from independent times of the three arms, each run at least twice.

    The interval accounts for the start's mean in both numerator and denominator. Variances may differ;
    degrees of freedom are Welch's and Satterthwaite's at the estimate. Times are assumed to be normal. The
    delta method is not used, because it is wrong for small gaps.
    """
    arms = [np.asarray(a, dtype=float) for a in (start, target, candidate)]
    if any(a.size < 2 or not np.isfinite(a).all() for a in arms):
        raise ValueError("each arm needs at least two finite times")
    s, t, c = (float(a.mean()) for a in arms)
    vs, vt, vc = (float(a.var(ddof=1)) / a.size for a in arms)
    up, down = s - c, s - t
    estimate = up / down if down else float("nan")
    q = float(stats.t.ppf((1 + level) / 2, _freedom(estimate, (vs, vt, vc), [a.size for a in arms])))
    # |up - r down| <= q sd(up - r down) is a r^2 - 2 b r + k <= 0.
    a, b, k = down**2 - q**2 * (vs + vt), up * down - q**2 * vs, up**2 - q**2 * (vs + vc)
    if down <= 0 or a <= 0:
        return Ratio(estimate, -np.inf, np.inf, False, level)
    half = float(np.sqrt(max(b * b - a * k, 0.0)))
    return Ratio(estimate, (b - half) / a, (b + half) / a, True, level)


def _freedom(r: float, variances: tuple[float, float, float], sizes: list[int]) -> float:
    r = r if np.isfinite(r) else 0.0
    parts = [w * v for w, v in zip(((1 - r) ** 2, r**2, 1.0), variances, strict=True)]
    below = sum(p**2 / (n - 1) for p, n in zip(parts, sizes, strict=True))
    return float(sum(parts) ** 2 / below) if below > 0 else float(min(sizes) - 1)

"""
Aggregate scores over tasks and runs, with stratified bootstrap intervals as in rliable.

Scores are one sequence of runs for each task. Every task has the same weight. If all tasks have the same
number of runs, the figures equal those of `rliable` 1.2.0 (mean, median of task means, interquartile mean of
all runs, optimality gap), and the intervals come from the same distribution. Nothing is clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ranks = NDArray[np.unsignedinteger[Any]]
GAMMA = 1.0
"""The score at which the optimality gap is 0: the target record's time."""
TRIM = 0.25
CHUNK = 1 << 19
"""Resampled scores in memory at a time; few enough for a CPU cache."""


@dataclass(frozen=True, slots=True)
class Aggregates:
    """The four figures."""

    mean: float
    median: float
    """Median of the task means."""
    iqm: float
    """Mean of the middle half of all runs."""
    optimality_gap: float
    """Mean shortfall of the runs below 1; lower is better."""


@dataclass(frozen=True, slots=True)
class Interval:
    """One figure with its percentile interval."""

    name: str
    value: float
    low: float
    high: float


class _Scores:
    """The runs of all tasks in one array, and each run's position when sorted by score, lowest first."""

    def __init__(self, scores: Sequence[Sequence[float]]) -> None:
        tasks = [np.asarray(task, dtype=float) for task in scores]
        if not tasks or any(t.ndim != 1 or t.size == 0 or not np.isfinite(t).all() for t in tasks):
            raise ValueError("each task needs at least one run, and each run a finite score")
        values = np.concatenate(tasks)
        self.runs = values.size
        self.sizes = np.array([t.size for t in tasks])
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.size = np.repeat(self.sizes, self.sizes)
        self.first = np.repeat(self.starts, self.sizes).astype(np.int32)
        order = np.argsort(values, kind="stable")
        # Narrow integers: sorting ranks of 16 bits is ten times faster than sorting scores.
        self.rank: Ranks = np.empty(self.runs, dtype=np.uint16 if self.runs <= 1 << 16 else np.uint32)
        self.rank[order] = np.arange(self.runs)
        self.values: Floats = values[order]
        self.weight: Floats = 1.0 / (self.size[order] * len(tasks))
        self.equal = bool((self.sizes == self.sizes[0]).all())

    def figures(self, ranks: Ranks) -> Floats:
        """Return (n, 4) figures of (n, runs) ranks; the columns belong to the tasks in turn."""
        drawn = self.values.take(ranks)
        means = np.add.reduceat(drawn, self.starts, axis=1) / self.sizes
        short = np.add.reduceat(np.minimum(drawn, GAMMA), self.starts, axis=1) / self.sizes
        figures = (means.mean(axis=1), np.median(means, axis=1), self._iqm(ranks), GAMMA - short.mean(axis=1))
        return np.stack(figures, axis=1)

    def _iqm(self, ranks: Ranks) -> Floats:
        ordered = np.sort(ranks, axis=1)
        # Like scipy's trim_mean, leave out a whole number of runs on each side.
        cut = int(TRIM * self.runs)
        if self.equal:
            middle: Floats = self.values.take(ordered[:, cut : self.runs - cut]).mean(axis=1)
            return middle
        weights = self.weight.take(ordered)
        upto = np.cumsum(weights, axis=1)
        upto /= upto[:, -1:]
        low = cut / self.runs
        kept = np.diff(np.clip(upto, low, 1 - low), axis=1, prepend=low)
        weighted: Floats = (kept * self.values.take(ordered)).sum(axis=1) / (1 - 2 * low)
        return weighted


def point_estimates(scores: Sequence[Sequence[float]]) -> Aggregates:
    """Return the figures of `scores`, one sequence of runs for each task; `ValueError` if one is empty."""
    pooled = _Scores(scores)
    return Aggregates(*(float(v) for v in pooled.figures(pooled.rank[None, :])[0]))


def bootstrap(scores: Sequence[Sequence[float]], seed: int, repetitions: int = 50_000) -> Floats:
    """
    Return (repetitions, 4) figures of resampled scores, in the order of `Aggregates`.

    Each repetition draws, for each task, as many runs with replacement as the task has. The same seed gives
    the same draws on every machine.
    """
    pooled = _Scores(scores)
    rng = np.random.Generator(np.random.PCG64(seed))
    figures = np.empty((repetitions, 4))
    rows = max(1, CHUNK // pooled.runs)
    for begin in range(0, repetitions, rows):
        n = min(rows, repetitions - begin)
        # u * size rounds to less than size for every double u < 1.
        drawn = (rng.random((n, pooled.runs)) * pooled.size).astype(np.int32) + pooled.first
        figures[begin : begin + n] = pooled.figures(pooled.rank.take(drawn))
    return figures


def aggregate(
    scores: Sequence[Sequence[float]], seed: int, repetitions: int = 50_000, level: float = 0.95
) -> tuple[Interval, ...]:
    """Return the four figures with their percentile intervals."""
    drawn = bootstrap(scores, seed, repetitions)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    points = point_estimates(scores)
    named = (
        ("mean", points.mean),
        ("median", points.median),
        ("iqm", points.iqm),
        ("optimality gap", points.optimality_gap),
    )
    return tuple(
        Interval(name, value, float(a), float(b))
        for (name, value), a, b in zip(named, low, high, strict=True)
    )

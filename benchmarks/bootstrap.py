"""
How fast the stratified bootstrap is: the kit's vectorised one against one draw at a time, side by side.

    python benchmarks/bootstrap.py

Prints seconds and their ratio; only the ratio says something about the code.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from kit.score import metrics

TASKS, RUNS, REPETITIONS, PAIRS = 19, 90, 50_000, 5
SAMPLED = 500
"""Repetitions of the slow one; its time is scaled up."""


def one_at_a_time(scores: np.ndarray, repetitions: int) -> list[float]:
    """Return the mean of each resample, runs drawn anew within every task."""
    generator = np.random.default_rng(1)
    found = []
    for _ in range(repetitions):
        drawn = np.stack([generator.choice(task, size=len(task)) for task in scores])
        found.append(metrics.point_estimates(drawn.tolist()).iqm)
    return found


def main() -> None:
    """Time both in turn and print medians."""
    scores = np.random.default_rng(0).normal(0.3, 0.4, size=(TASKS, RUNS)).clip(0)
    fast, slow = [], []
    for _ in range(PAIRS):
        begin = time.perf_counter()
        metrics.aggregate(scores.tolist(), seed=1, repetitions=REPETITIONS)
        fast.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        one_at_a_time(scores, SAMPLED)
        slow.append((time.perf_counter() - begin) * REPETITIONS / SAMPLED)
    ours, theirs = statistics.median(fast), statistics.median(slow)
    print(f"{REPETITIONS} repetitions over {TASKS} x {RUNS} runs, median of {PAIRS} pairs")
    print(f"vectorised   {ours:8.2f} s  ({min(fast):.2f} to {max(fast):.2f})")
    print(f"one by one   {theirs:8.2f} s  (scaled from {SAMPLED} repetitions)")
    print(f"ratio        {theirs / ours:8.1f}")


if __name__ == "__main__":
    main()

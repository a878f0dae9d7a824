"""
Writes rliable_answers.json, what rliable itself answers for made-up scores.

Renew it with `pip install '.[rliable]'` and `python tests/assets/rliable_answers.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

CASES = {"3 x 18": (3, 18), "8 x 19": (8, 19), "5 x 7": (5, 7), "90 x 19": (90, 19), "2 x 3": (2, 3)}
"""Runs x tasks."""
REPETITIONS = 50_000


def scores(shape: tuple[int, int], seed: int) -> Any:
    """FSR as it comes: many zeros, some half, few above 1."""
    rng = np.random.Generator(np.random.PCG64(seed))
    drawn = rng.gamma(1.0, 0.4, shape) * (rng.random(shape) < 0.7)
    return np.round(drawn, 6)


def answers(matrix: Any, seed: int) -> dict[str, Any]:
    """Point estimates and 95 % intervals of rliable for a (runs, tasks) matrix."""
    from rliable import library, metrics

    def figures(x: Any) -> Any:
        return np.array(
            [
                np.mean(np.mean(x, axis=0)),
                metrics.aggregate_median(x),
                metrics.aggregate_iqm(x),
                metrics.aggregate_optimality_gap(x),
            ]
        )

    np.random.seed(seed)  # rliable draws from the global generator
    points, intervals = library.get_interval_estimates({"a": matrix}, figures, reps=REPETITIONS)
    return {
        "points": points["a"].tolist(),
        "low": intervals["a"][0].tolist(),
        "high": intervals["a"][1].tolist(),
    }


def main() -> None:
    """Write the file."""
    import warnings

    warnings.simplefilter("ignore")
    found = {}
    for seed, (name, shape) in enumerate(CASES.items()):
        matrix = scores(shape, seed)
        found[name] = {"scores": matrix.tolist(), **answers(matrix, seed)}
    document = {
        "rliable": "1.2.0",
        "repetitions": REPETITIONS,
        "order": "mean, median, iqm, optimality gap",
        "cases": found,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

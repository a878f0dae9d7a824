"""The recorded answers are rliable's, and so are ours for other scores; needs the extra `rliable`."""

from __future__ import annotations

import json
import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest

from kit.score import metrics

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("rliable", reason="the extra rliable is not installed")
    from rliable import library as _  # noqa: F401

SCRIPT = Path(__file__).parents[1] / "assets" / "rliable_answers.py"
RECORDED = json.loads(SCRIPT.with_suffix(".json").read_text())
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("seed", range(5))
def test_point_estimates_of_fresh_scores_agree(seed: int) -> None:
    script = runpy.run_path(str(SCRIPT))
    script["answers"].__globals__["REPETITIONS"] = 200
    rng = np.random.Generator(np.random.PCG64(100 + seed))
    matrix = script["scores"]((int(rng.integers(1, 12)) + 1, int(rng.integers(1, 25))), 200 + seed)
    found = metrics.point_estimates([list(task) for task in matrix.T])
    ours = [found.mean, found.median, found.iqm, found.optimality_gap]
    assert ours == pytest.approx(script["answers"](matrix, seed)["points"], rel=0, abs=1e-9)


def test_the_recorded_answers_are_made_by_the_script_that_is_named() -> None:
    script = runpy.run_path(str(SCRIPT))
    name, shape = next(iter(script["CASES"].items()))
    matrix = script["scores"](shape, 0)
    assert matrix.tolist() == RECORDED["cases"][name]["scores"]
    again = script["answers"](matrix, 0)
    assert again["points"] == pytest.approx(RECORDED["cases"][name]["points"], abs=1e-12)
    assert again["low"] == pytest.approx(RECORDED["cases"][name]["low"], abs=1e-9)
    assert again["high"] == pytest.approx(RECORDED["cases"][name]["high"], abs=1e-9)

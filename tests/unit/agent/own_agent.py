"""A task for one's own agent whose evaluations follow from the text of the script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fake_search import FakeEvaluator, Ticks, outcome

from kit.agent.node import EvaluationOutcome, EvaluationStatus
from kit.agent.own_task import OwnTask
from kit.agent.spec import EvaluationSettings
from kit.benchmark.hints import Hint, HintLevel

Judge = Callable[[str, str], EvaluationOutcome]


def by_words(run_id: str, content: str) -> EvaluationOutcome:
    """Judge a script: `crash` and `miss` fail, each `fast` saves 100 ms of 1,000."""
    if "crash" in content:
        return outcome(run_id, EvaluationStatus.CRASHED, None)
    if "miss" in content:
        return outcome(run_id, EvaluationStatus.MISSED, None)
    return outcome(run_id, EvaluationStatus.REACHED, 1000.0 - 100 * content.count("fast"))


def own_task(
    folder: Path, judge: Judge = by_words, start: bytes = b"print(1)\n", ticks: Ticks | None = None
) -> OwnTask:
    return OwnTask(
        name="smoke-3",
        text="# Task\n",
        hints=(Hint("smoke-3", HintLevel.PSEUDOCODE, "# Task smoke-3, level 1: x\n"),),
        start={"train_gpt2.py": start},
        target_loss=3.72,
        settings=EvaluationSettings("smoke", "runc", "cpu", 0, 90.0, 1000.0, 20.0, 600.0),
        evaluator=FakeEvaluator(folder / "bundles", ticks or Ticks(), outcome=judge),
    )

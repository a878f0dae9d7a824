"""What an evaluation that ends without a result costs: nothing while it waits, its time once it has GPUs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kit.agent import evaluation
from kit.agent.evaluation import KitEvaluator
from kit.agent.evaluator import EvaluatedRun
from kit.agent.ledger import Interrupted
from kit.agent.node import EvaluationOutcome, EvaluationStatus
from kit.core.errors import RunError
from kit.evaluate.request import Request
from kit.evaluate.run import Listener
from kit.sandbox.folder import RunFolder
from kit.sandbox.turn import InterruptedWait
from kit.values.profile import Profile


@contextlib.contextmanager
def prepared(*arguments: Any) -> Iterator[None]:
    yield


def test_a_run_whose_engine_failed_is_charged_the_time_since_its_reservation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, folder = [100.0], RunFolder(tmp_path / "r03-20260101T000000Z-00000000")
    folder.path.mkdir()
    folder.result.touch()
    lost = EvaluationOutcome("r", EvaluationStatus.INFRA_FAILED, "0" * 64, None, None, None, 0.0, 0.0, "lost")

    def dies(ready: Any, places: Any, listener: Listener) -> Any:
        listener.reserved(folder)
        now[0] += 50.0
        raise RunError("the engine died")

    monkeypatch.setattr(evaluation.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        evaluation, "draft", lambda request, places: SimpleNamespace(terms=SimpleNamespace(gpus=8))
    )
    monkeypatch.setattr(evaluation, "prepared", prepared)
    monkeypatch.setattr(evaluation, "run_prepared", dies)
    monkeypatch.setattr(KitEvaluator, "read", lambda self, bundle: EvaluatedRun(lost, None))
    places: Any = None
    evaluator = KitEvaluator(Request("3", Profile.FULL), places, None)
    outcome = evaluator.evaluate(tmp_path, lambda run_id: None, lambda: False).outcome
    assert outcome.status is EvaluationStatus.INFRA_FAILED and outcome.reason == "the engine died"
    assert (outcome.wall_s, outcome.gpu_seconds) == (50.0, 400.0)


def test_an_interrupted_wait_for_gpus_interrupts_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(ready: Any, places: Any, listener: Listener) -> Any:
        raise InterruptedWait

    monkeypatch.setattr(evaluation, "draft", lambda request, places: None)
    monkeypatch.setattr(evaluation, "prepared", prepared)
    monkeypatch.setattr(evaluation, "run_prepared", waits)
    places: Any = None
    evaluator = KitEvaluator(Request("smoke-1", Profile.SMOKE), places, None)
    reserved: list[str] = []
    with pytest.raises(Interrupted):
        evaluator.evaluate(tmp_path, reserved.append, lambda: True)
    assert reserved == []

"""A task from Python: its text, hints, start script, reference times and check, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.agent import api
from kit.agent.evaluation import KitEvaluator
from kit.agent.own_task import default_places
from kit.core.errors import UsageError
from kit.evaluate.provenance import this_kit


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> api.OwnTask:
    base = tmp_path_factory.mktemp("task")
    return api.load_task("smoke-3", (1, 1), "runc", base / "store", base / "keys")


def test_a_task_has_what_an_agent_needs(task: api.OwnTask) -> None:
    assert (task.name, task.target_loss, set(task.start)) == ("smoke-3", 3.72, {"run.toml", "train_gpt2.py"})
    assert "# Task smoke-3: train faster" in task.text and "## Hints" not in task.text
    assert [int(hint.level) for hint in task.hints] == [1]
    assert task.briefing.startswith("# Task smoke-3: train") and "# Task smoke-3, level 1:" in task.briefing
    assert (task.settings.profile, task.settings.gpus, task.settings.start_ms) == ("smoke", 0, 6120.0)
    assert isinstance(task.evaluator, KitEvaluator) and task.evaluator.reference is not None


def test_a_measured_start_time_scales_the_target(tmp_path: Path) -> None:
    task = api.load_task("smoke-3", (), "runc", tmp_path / "store", tmp_path / "keys", start_ms=12240.0)
    assert (task.settings.start_ms, task.settings.target_ms) == (12240.0, 3020.0)
    assert task.settings.start_sd_ms is None


def test_bundles_lie_in_the_directory_of_the_run(task: api.OwnTask, tmp_path: Path) -> None:
    evaluator = task.evaluator_of(tmp_path / "run")
    assert isinstance(evaluator, KitEvaluator) and evaluator.places.out == tmp_path / "run" / "bundles"


def test_the_check_compares_with_the_tasks_own_start_script(task: api.OwnTask, tmp_path: Path) -> None:
    for name, data in task.start.items():
        (tmp_path / name).write_bytes(data)
    assert task.check(tmp_path) == ()
    script = tmp_path / "train_gpt2.py"
    script.write_bytes(
        task.start["train_gpt2.py"].replace(b"torch.manual_seed(a.seed)", b"torch.cuda.init()")
    )
    assert any(fault.startswith("cuda: train_gpt2.py:") for fault in task.check(tmp_path))


def test_an_unknown_task_or_runtime_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown runtime 'rocket'"):
        api.load_task("smoke-3", runtime="rocket", store=tmp_path, keys=tmp_path)
    with pytest.raises(UsageError, match="smoke-9"):
        api.load_task("smoke-9", runtime="runc", store=tmp_path, keys=tmp_path)


def test_the_places_are_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    places = default_places(Path("bundles"))
    assert places.store.root == (tmp_path / "cache" / "speedrun-kit").resolve()
    assert places.keys == tmp_path / "config" / "speedrun-kit" / "keys"
    assert places.out.is_absolute() and places.kit == this_kit()

"""`session new`: what it says of the budget, and of the next command."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_session import begin, fake_task, opened

from kit.agent import own_task
from kit.agent.own_task import OwnTask
from kit.cli import run
from kit.cli.session import new as new_command
from kit.session import opening

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "session.md"
New = Callable[..., int]


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> New:
    """Begin a session on GPUs, an hour for each evaluation, without a runtime; return the exit code."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def call(budget: str, *more: str, gpus: int = 8, worst_s: float = 3600.0) -> int:
        def task_for(*arguments: Any) -> OwnTask:
            task = fake_task(tmp_path)
            return replace(task, settings=replace(task.settings, gpus=gpus, worst_wall_s=worst_s))

        monkeypatch.setattr(own_task, "task_for", task_for)
        return run(
            ["session", "new", "--task", "smoke-1", "--budget", budget, "--out", str(tmp_path / "s"), *more]
        )

    return call


@pytest.mark.parametrize(
    ("budget", "gpus", "worst_s", "why"),
    [
        ("gpu-hours=5", 8, 3600.0, "one can take 8 GPU-hours (60 min on 8 GPUs); raise gpu-hours, or lower"),
        ("gpu-hours=8,wall=1h", 8, 3600.0, "one can take 60 min, and the session's own seconds count too"),
        ("wall=60s", 0, 900.0, "one can take 15 min, and the session's own seconds count too; raise wall"),
        ("wall=2h,evaluations=0", 0, 900.0, "raise evaluations"),
        ("gpu-hours=8,wall=2h,evaluations=1", 8, 3600.0, ""),
        ("wall=16m", 0, 900.0, ""),
    ],
)
def test_a_budget_that_holds_no_evaluation_is_told(
    budget: str, gpus: int, worst_s: float, why: str, new: New, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new(budget, gpus=gpus, worst_s=worst_s) == 0
    said = capsys.readouterr().err
    assert ("this budget holds no evaluation" in said) == bool(why)
    assert f"warning: this budget holds no evaluation: {why}" in said or not why


@pytest.mark.parametrize(
    ("budget", "tool", "arguments", "text"),
    [
        ("gpu-hours=0.1999", "evaluate", {},
         "an evaluation can take 0.2 GPU-hours, and the budget of 0.1999 has 0.199 left"),
        ("wall=72s", "evaluate", {}, "an evaluation can take 0.025 h of wall time, and the budget of"),
        ("evaluations=0", "evaluate", {},
         "none of the 0 evaluations of the budget is left"),
        ("gpu-hours=1", "try", {"seconds": 3600.0}, "this call can take 8 GPU-hours, and the budget of"),
    ],
)  # fmt: skip
def test_a_refusal_speaks_in_the_units_of_the_budget(
    budget: str, tool: str, arguments: dict[str, Any], text: str, tmp_path: Path
) -> None:
    folder = begin(tmp_path, budget)
    with opened(folder) as session:
        answer = session.call(tool, arguments, "t")
    assert answer.is_error and f"refused: {text}" in answer.text


@pytest.mark.parametrize("page", [GUIDE, Path(new_command.__file__), Path(opening.__file__)])
def test_an_example_s_gpu_hours_can_be_spent_in_its_wall_time(page: Path) -> None:
    examples = re.findall(r"gpu-hours=([0-9]+),wall=([0-9]+)h", page.read_text())
    assert examples
    assert [pair for pair in examples if int(pair[0]) > 8 * int(pair[1])] == []


def test_gpu_hours_alone_are_refused_without_gpus(
    new: New, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new("gpu-hours=5", gpus=0) == 2
    said = capsys.readouterr().err
    assert "error: gpu-hours limits nothing here: this session has no GPUs" in said
    assert "hint: pass wall= or evaluations=" in said
    assert not (tmp_path / "s").exists()
    assert new("gpu-hours=5,wall=2h", gpus=0) == 0


def test_the_next_command_has_the_options_that_were_given(
    new: New, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, keys = tmp_path / "the store", tmp_path / "keys"
    assert new("wall=2h", "--store", str(store), "--keys", str(keys), "--runtime", "runc") == 0
    serve = f"next: speedrun session serve {tmp_path / 's'} --stdio"
    assert f"{serve} --store '{store}' --keys {keys}\n" in capsys.readouterr().err


def test_the_next_command_has_no_defaults(
    new: New, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new("wall=2h") == 0
    assert f"next: speedrun session serve {tmp_path / 's'} --stdio\n" in capsys.readouterr().err


def test_the_guide_says_what_the_gap_of_its_horizon_contains_before_another_pair() -> None:
    before, after = GUIDE.read_text().split("### From record 29", 1)
    assert "tasks 47, 48 and 51 have the [T mark]" in before and "T mark" not in after

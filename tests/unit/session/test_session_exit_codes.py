"""What a session's command exits with: the answer is no, or the kind of the mistake."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_session import FakeTrials, begin, fake_parts, fake_task, write_script

from kit.agent.budget import parse_budget
from kit.agent.search import SPEC
from kit.agent.spec import AgentSpec, EvaluationSettings, read_spec, write_spec
from kit.agent.tool_events import TryStatus
from kit.cli import run
from kit.cli.session import parts
from kit.core.errors import (
    DigestMismatch,
    IntegrityError,
    KitError,
    NetworkError,
    PrerequisiteError,
    SchemaError,
    UsageError,
)
from kit.evaluate.request import Overrides
from kit.session.opening import open_session, session_spec
from kit.session.session import AgentSession
from kit.session.trials import TryOutcome


class Trials(FakeTrials):
    """Tries that end as a test wants."""

    fails: Exception | None = None
    status = TryStatus.BOUND

    def run(self, *arguments: Any) -> TryOutcome:
        if self.fails is not None:
            raise self.fails
        arguments[3]("id")
        return TryOutcome(self.status, "", None, None, None, 1.0)


@pytest.fixture
def trials() -> Trials:
    return Trials()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials: Trials) -> Path:
    """A session that commands open, without a runtime."""
    made = begin(tmp_path, "gpu-hours=1,wall=1h")

    @contextlib.contextmanager
    def opened(place: Path, options: Mapping[str, Any]) -> Iterator[AgentSession]:
        with open_session(place, fake_parts(place, trials=trials)) as session:
            yield session

    monkeypatch.setattr(parts, "opened", opened)
    return made


def edit(folder: Path, text: str) -> None:
    with open_session(folder, fake_parts(folder)) as session:
        write_script(session, text)


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["brief"], 0),
        (["check"], 0),
        (["history"], 0),
        (["try", "--seconds", "5"], 0),
        (["try", "--seconds", "3000"], 1),  # the budget does not hold it
        (["try", "--gpus", "3"], 2),
        (["try", "--seconds", "nan"], 2),
        (["try", "--seconds", "1e308"], 2),
        (["history", "--evaluation", "4"], 3),
        (["history", "--try", "4"], 3),
        (["evaluate", "--parent", "4"], 3),
    ],
)
def test_a_call_exits_by_its_answer(folder: Path, argv: list[str], code: int) -> None:
    assert run(["session", argv[0], str(folder), *argv[1:]]) == code


@pytest.mark.parametrize(
    ("text", "code"), [("# fast\n", 0), ("# miss\n", 1), ("# crash\n", 1), ("# fault\n", 1)]
)
def test_an_evaluation_exits_by_its_result(folder: Path, text: str, code: int) -> None:
    edit(folder, text)
    assert run(["session", "evaluate", str(folder)]) == code
    assert run(["session", "check", str(folder)]) == (1 if "fault" in text else 0)


@pytest.mark.parametrize(("status", "code"), [*((s, 1) for s in TryStatus if s not in ("bound", "completed")),
                                              (TryStatus.BOUND, 0), (TryStatus.COMPLETED, 0)])  # fmt: skip
def test_a_try_exits_by_how_it_ended(folder: Path, trials: Trials, status: TryStatus, code: int) -> None:
    trials.status = status
    assert run(["session", "try", str(folder), "--seconds", "5"]) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no"), 2),
        (PrerequisiteError("no GPU"), 3),
        (SchemaError("no"), 4),
        (DigestMismatch("no"), 4),
        (NetworkError("no"), 5),
        (OSError(28, "No space left on device"), 5),
        (ValueError("a defect"), 5),
    ],
)
def test_a_call_that_could_not_be_made_exits_by_its_kind(
    folder: Path, trials: Trials, error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    trials.fails = error
    assert run(["session", "try", str(folder), "--seconds", "5", "--json"]) == code
    answer = json.loads(capsys.readouterr().out)["error"]
    assert answer["exit_code"] == code
    if isinstance(error, KitError):
        assert answer["message"] == error.message


def test_ctrl_c_exits_with_130(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def opened(place: Path, options: Mapping[str, Any]) -> Iterator[AgentSession]:
        with open_session(place, fake_parts(place, cancelled=lambda: True)) as session:
            yield session

    monkeypatch.setattr(parts, "opened", opened)
    assert run(["session", "try", str(folder), "--seconds", "5"]) == 130


def spec_of(task: str, profile: str, gpus: int, runtime: str = "runc") -> AgentSpec:
    settings = EvaluationSettings(profile, runtime, "cpu", gpus, 90.0, 1000.0, 20.0, 600.0)
    task_ = replace(fake_task(Path()), name=task, settings=settings)
    return session_spec(task_, "tester 1", parse_budget("wall=1h"), None, Overrides())


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (spec_of("smoke-1", "smoke", 8), "the smoke profile runs on CPUs"),
        (spec_of("smoke-1", "full", 8), "record smoke-1 runs only in the smoke profile"),
        (spec_of("smoke-1", "tiny", 0), "unknown Profile 'tiny'"),
        (spec_of("smoke-1", "smoke", 0, "lxc"), "unknown RuntimeName 'lxc'"),
        (spec_of("99", "full", 8), "record 99 not found"),
    ],
)
def test_a_spec_that_no_session_has_is_a_broken_document(
    tmp_path: Path, spec: AgentSpec, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_spec(tmp_path / SPEC, spec)
    for command in (["end"], ["history"], ["serve", "--stdio"]):
        assert run(["session", command[0], str(tmp_path), *command[1:]]) == 4
        assert said in capsys.readouterr().err


def test_a_changed_spec_is_no_mistake_of_the_options(tmp_path: Path) -> None:
    folder = begin(tmp_path, "gpu-hours=1,wall=1h")
    spec = read_spec(folder / SPEC)
    write_spec(folder / SPEC, replace(spec, evaluation=replace(spec.evaluation, worst_wall_s=1.0)))
    with (
        pytest.raises(IntegrityError, match=r"was changed.*worst_wall_s"),
        open_session(folder, fake_parts(folder)),
    ):
        pass

"""The winner's new times come from a series of its own; both times are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from agent_runs import make_run, remember_edits, searched
from fake_search import outcome

from kit.agent import retiming, series_score
from kit.agent.journal import JOURNAL, read_journal
from kit.agent.node import EvaluationStatus
from kit.agent.nodefiles import NodeFiles
from kit.agent.retiming import retime_winner, retimed_of
from kit.agent.session import AgentRun, RunHooks
from kit.core.errors import UsageError
from kit.series.record import Arm
from kit.values.run_spec import RuntimeName

REACHED = EvaluationStatus.REACHED


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AgentRun:
    remember_edits(monkeypatch)
    run = make_run(tmp_path, controls=0)
    searched(run)
    return run


def series(monkeypatch: pytest.MonkeyPatch, *times: float | None, others: Sequence[Arm] = ()) -> list[Any]:
    """
    Replace the series by one with these times in milliseconds; None for a run above the target.

    `others` ran in turn with the winner, and the series has no score.
    """
    asked: list[Any] = []

    def run_series(arms: Any, request: Any, places: Any, listen: Any, audits: Any, ended: Any) -> Path:
        asked.append((arms, request, places, audits))
        return Path(places.out / "s00-series" / "series.json")

    members = [SimpleNamespace(slot=SimpleNamespace(arm=Arm.CANDIDATE), bundle=SimpleNamespace(predicate=t))
               for t in times]  # fmt: skip
    members += [SimpleNamespace(slot=SimpleNamespace(arm=arm), bundle=None) for arm in others]
    members.append(SimpleNamespace(slot=SimpleNamespace(arm=Arm.CANDIDATE), bundle=None))
    status = {True: EvaluationStatus.MISSED, False: REACHED}
    monkeypatch.setattr(retiming, "run_series", run_series)
    monkeypatch.setattr(retiming, "open_series", lambda *a: SimpleNamespace(members=members, ratio=None))
    monkeypatch.setattr(series_score, "outcome_of", lambda t, *a: outcome("r", status[t is None], t))
    return asked


def test_the_winner_s_submission_is_timed_with_all_audits(
    done: AgentRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = series(monkeypatch, 2000.0, 2100.0, None)
    again = retime_winner(done, 4, RunHooks(), lambda plan: None)  # type: ignore[arg-type, return-value]
    assert again is not None
    ((arms, request, places, audits),) = asked
    submission = arms[Arm.CANDIDATE].submission
    assert list(arms) == [Arm.CANDIDATE] and request.runs == 4
    assert b"scaled_dot_product" in next(f.data for f in submission.files if f.name == "train_gpt2.py")
    assert len(audits.audits) == 5 and places.out == done.folder / "bundles"
    event = again.event
    assert event == retimed_of(done.folder) == read_journal(done.folder / JOURNAL).events[-1]
    assert (event.node, event.series, event.runs, event.reached) == (1, "s00-series", 4, 2)
    assert event.mean_ms == 2050.0 and event.sd_ms == pytest.approx(70.7, abs=0.1)
    assert event.fsr == pytest.approx((6120 - 2050) / (6120 - 1510))
    assert 2000 <= event.search_ms < 2100


def test_a_winner_that_is_exchanged_after_its_check_is_not_timed(
    done: AgentRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = NodeFiles.read_submission

    def read_and_exchange(self: NodeFiles, expected: str | None) -> dict[str, bytes]:
        files = read(self, expected)
        (self.submission / "train_gpt2.py").write_text("another = 1\n")
        return files

    asked = series(monkeypatch, 2000.0)
    monkeypatch.setattr(NodeFiles, "read_submission", read_and_exchange)
    retime_winner(done, 1, RunHooks(), lambda plan: None)  # type: ignore[arg-type, return-value]
    files = asked[0][0][Arm.CANDIDATE].submission.files
    assert b"another" not in next(f.data for f in files if f.name == "train_gpt2.py")


def test_a_winner_that_fails_is_kept_too(done: AgentRun, monkeypatch: pytest.MonkeyPatch) -> None:
    series(monkeypatch, None)
    again = retime_winner(done, 1, RunHooks(), lambda plan: None)  # type: ignore[arg-type, return-value]
    assert again is not None
    assert (again.event.mean_ms, again.event.sd_ms, again.event.fsr, again.event.reached) == (
        None,
        None,
        None,
        0,
    )


def test_an_interleaved_series_without_a_score_takes_none_from_other_machines(
    done: AgentRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    series(monkeypatch, 2000.0, others=(Arm.START, Arm.TARGET))
    again = retime_winner(done, 1, RunHooks(), lambda plan: None)  # type: ignore[arg-type, return-value]
    assert again is not None
    assert (again.event.mean_ms, again.event.fsr) == (2000.0, None)


def test_a_cancelled_series_is_not_counted(done: AgentRun, monkeypatch: pytest.MonkeyPatch) -> None:
    series(monkeypatch, 2000.0)
    assert retime_winner(done, 1, RunHooks(lambda: True), lambda plan: None) is None  # type: ignore[arg-type, return-value]
    assert retimed_of(done.folder) is None


def test_a_search_that_has_not_ended_has_no_winner(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.folder.mkdir(parents=True)
    (run.folder / JOURNAL).write_bytes(b"")
    with pytest.raises(UsageError, match="no winner"):
        retime_winner(run, 1, RunHooks(), lambda plan: None)  # type: ignore[arg-type, return-value]


def test_the_runtime_of_the_series_is_the_run_s(done: AgentRun) -> None:
    assert done.evaluation.runtime is RuntimeName.RUNC
    assert replace(done.evaluation, submission=None).record == "smoke-3"

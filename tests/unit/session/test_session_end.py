"""`session end` times the winner in a series, beside the horizon if asked, and signs the summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_session import begin, fake_parts, opened, write_script

from kit.agent import retiming
from kit.agent.events import Retimed
from kit.agent.horizon import load_horizon
from kit.agent.journal import JOURNAL, open_journal, read_journal
from kit.agent.retiming import RetimedArms, RetimedWinner
from kit.agent.series_score import SeriesScore
from kit.agent.summary import SUMMARY, read_summary
from kit.audit.source import SourceFile
from kit.cli import run
from kit.cli.session import end as end_command
from kit.cli.session.parts import MachineSession
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.evaluate.request import Places
from kit.evaluate.start_script import RecordScript
from kit.result.keys import Trusted, load_or_create
from kit.score.metrics import Ratio
from kit.session import recorded
from kit.session.opening import read_session_spec
from kit.values.software import Kit


def session_places(folder: Path) -> Places:
    """Places without any source to fetch from."""
    facts, store = facts_root(), Store(folder / "store")
    return Places(facts / "records", facts / "images", store, folder, folder / "keys", (), Kit("0", None))


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """End a session with one evaluation, whose series is made up; return what was asked and printed."""
    horizon = load_horizon(facts_root() / "records", "smoke-1", "smoke-3")
    folder, asked = begin(tmp_path, horizon=horizon), []
    with opened(folder) as session:
        write_script(session, "# fast\n")
        session.call("evaluate", {}, "t")

    def machine_session(folder: Path, options: Any, cancelled: Any) -> MachineSession:
        places = session_places(tmp_path)
        parts = fake_parts(folder, cancelled=cancelled)
        return MachineSession(folder, read_session_spec(folder), None, places, parts)  # type: ignore[arg-type]

    def retime(run: Any, runs: int, hooks: Any, listen: Any, arms: RetimedArms) -> RetimedWinner:
        asked.append((runs, arms))
        event = Retimed(1, "s00-x", runs, 900.0, 910.0, 5.0, 0.225, runs)
        with open_journal(run.folder, hooks.now)[0] as journal:
            journal.append(event)
        return RetimedWinner(event, run.folder)

    monkeypatch.setattr(end_command, "machine_session", machine_session)
    monkeypatch.setattr(
        "kit.session.opening.session_run", lambda folder, *rest: type("R", (), {"folder": folder})
    )
    monkeypatch.setattr(retiming, "retime_winner", retime)
    score = SeriesScore(Ratio(0.25, 0.2, 0.3, True, 0.95), "")
    monkeypatch.setattr(recorded, "score_of", lambda *arguments: score)

    def call(*more: str) -> int:
        return run(["session", "end", str(folder), "--keys", str(tmp_path / "keys"), *more])

    return folder, asked, call


def test_the_winner_is_timed_once_and_the_summary_has_its_times(
    ended: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, asked, call = ended
    assert call("--retime", "3", "--interleave", "--json") == 0
    assert asked == [(3, RetimedArms(True, "smoke-3"))]
    answer = json.loads(capsys.readouterr().out)
    assert (answer["winner"], answer["retimed_ms"], answer["recovered"]) == (1, 910.0, 0.225)
    assert answer["series"] == {"recovered": 0.25, "low": 0.2, "high": 0.3, "resolved": True, "level": 0.95,
                                "refused": None}  # fmt: skip
    assert answer["retimed_series"] == "s00-x"
    assert call("--retime", "3") == 0
    said = capsys.readouterr()
    assert "timed again: 0.910 s, 3 of 3 runs, recovered 0.225; series s00-x" in said.err
    assert "score of the series: 0.250, 95 % interval 0.200 to 0.300" in said.err
    assert len(asked) == 1, "a winner is timed again once"
    assert run(["session", "show", str(folder)]) == 0
    assert "winner timed again: 0.910 s, recovered 0.225; series s00-x" in capsys.readouterr().out
    assert run(["session", "show", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["retimed_series"] == "s00-x"
    trusted = Trusted((load_or_create(tmp_path / "keys").public,))
    signed = read_summary(folder / SUMMARY, trusted)
    assert signed.summary.retimed is not None and signed.summary.retimed.mean_ms == 910.0
    assert signed.summary.journal.lines == len(read_journal(folder / JOURNAL).lines)


def test_a_horizon_that_cannot_start_in_the_image_is_refused_before_the_session_ends(
    ended: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked, call = ended

    def files(self: RecordScript, places: Places) -> tuple[SourceFile, ...]:
        needs = b"import triton\n" if self.record.name == "smoke-3" else b"import torch\n"
        return (SourceFile("train_gpt2.py", needs),)

    monkeypatch.setattr(RecordScript, "files", files)
    before = read_journal(folder / JOURNAL).lines
    assert call("--retime", "3", "--interleave") == 3
    said = capsys.readouterr().err
    assert "the script of record smoke-3 cannot start in the image cpu" in said
    assert "train_gpt2.py:1: import triton" in said
    assert f"hint: leave its script out: speedrun session end {folder} --retime 3 --keys " in said
    assert (read_journal(folder / JOURNAL).lines, asked) == (before, [])
    assert call("--retime", "3") == 0
    assert asked == [(3, RetimedArms())]


def test_a_series_without_a_score_is_told(
    ended: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, call = ended
    monkeypatch.setattr(recorded, "score_of", lambda *arguments: None)
    assert call("--retime", "2", "--interleave") == 0
    said = capsys.readouterr().err
    assert "the series has no score: each of its scripts needs two runs with a loss" in said
    assert f"see speedrun series {folder}/" in said
    assert call() == 0
    assert "no score" not in capsys.readouterr().err


@pytest.mark.parametrize("runs", ["0", "1"])
def test_an_interleaved_series_of_one_run_is_refused_before_the_session_ends(
    runs: str, ended: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, asked, call = ended
    before = read_journal(folder / JOURNAL).lines
    assert call("--retime", runs, "--interleave") == 2
    said = capsys.readouterr().err
    assert "error: an interleaved series needs two runs of each script for a score" in said
    assert "hint: pass --retime 2 or more" in said
    assert (read_journal(folder / JOURNAL).lines, asked) == (before, [])


def test_without_interleave_only_the_winner_runs(ended: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, asked, call = ended
    assert call("--retime", "1") == 0
    assert asked == [(1, RetimedArms())]
    capsys.readouterr()


def test_a_series_that_gives_no_score_is_refused_before_the_session_ends(
    ended: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked, call = ended
    monkeypatch.setattr(end_command, "_has_no_times", lambda ready: True)
    before = read_journal(folder / JOURNAL).lines
    assert call("--retime", "3") == 2
    assert f"speedrun session end {folder} --retime 3 --interleave" in capsys.readouterr().err
    assert read_journal(folder / JOURNAL).lines == before and asked == []
    assert call() == 0, "an end without a series is not refused"

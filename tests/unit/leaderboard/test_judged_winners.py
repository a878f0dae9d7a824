"""D, L and the distance recovered stand beside the FSR of agents' winners, and enter no score."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("scipy")

from fake_search import SIGNATURE, FakeTransport
from pressed_search import pressed_run, pressed_spec, signer, trusted

from kit.agent.recorded import read_run
from kit.cli import run as speedrun
from kit.core.digest import Sha256
from kit.core.errors import NetworkError, PrerequisiteError, UsageError
from kit.judge import rubric, scripts
from kit.judge.deterministic import ProbeResult, ProbeScore
from kit.judge.judgement import Judgement, ModelJudgement, write_judgement
from kit.judge.model_score import JudgeControl, JudgedRole, ModelSample, ModelScore, SampleSummary
from kit.judge.scripts import TaskPair
from kit.judge.source import normalise
from kit.leaderboard.page.agent_runs import AgentRuns, read_agent_runs
from kit.leaderboard.page.agent_section import HEADS, JUDGED_HEADS, agent_section
from kit.leaderboard.page.judged import fit_text, read_judgements, winner_figures, with_winners
from kit.leaderboard.page.rank import Board
from kit.leaderboard.page.site import render
from kit.result.keys import Signer, throwaway

DIGEST = Sha256("ab" * 32)
SEEDS = (1, 3, 6)
"""Seeds whose runs have different winners."""
EMPTY = Board((), (), (), (), ())
PAIR = TaskPair(*(normalise({"train_gpt2.py": text}) for text in (b"print('start')\n", b"print(1, 2, 3)\n")))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three seeds of one agent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        where = tmp_path_factory.mktemp("agents")
        for seed in SEEDS:
            answers = FakeTransport(text=f"{SIGNATURE} {seed}")
            pressed_run(where / f"aide-{seed}", pressed_spec("aide", seed, max_nodes=4), answers)
        yield where


def rubric_of(task: str) -> Sha256:
    return DIGEST


def judgement(
    task: str, d: float, l_mean: float | None = None, reliable: bool = True, day: int = 1
) -> Judgement:
    """A judgement, with L if it is given."""
    model = None
    if l_mean is not None:
        samples = tuple(
            ModelSample(role, 0, DIGEST, DIGEST, "m", None, None, (), l_mean, 1, 1, None)
            for role in JudgedRole
        )
        told = SampleSummary(l_mean, None, 1.0, None)
        controls = tuple(JudgeControl(name, reliable, "") for name in ("start", "target", "injection"))
        score = ModelScore(told, told, told, None, controls, reliable, samples)
        model = ModelJudgement("p", "m", "localhost", DIGEST, DIGEST, score)
    probes = ProbeScore(d, 1.0, True, tuple(ProbeResult(f"item-{i}", 1, True) for i in range(3)))
    at = f"2026-01-{day:02d}T00:00:00.000+00:00"
    return Judgement(task, "0", at, DIGEST, DIGEST, probes, model)


def judge(folder: Path, run: Path, by: Signer | None = None, **about: Any) -> None:
    """Write a judgement of a run's winner; a directory has one for each key and day."""
    recorded = read_run(run)
    winner = recorded.tree.winner()
    assert winner is not None
    submission = recorded.tree.node(winner).submission_sha256
    assert submission is not None
    made = judgement(str(recorded.spec.task), **about)
    write_judgement(folder, made, Sha256(submission), by or signer())


@pytest.fixture
def judged(runs: Path, tmp_path: Path) -> AgentRuns:
    """Winners with D; one with a reliable L, one with an unreliable one."""
    judge(tmp_path / "j", runs / "aide-1", d=0.5, l_mean=0.25)
    judge(tmp_path / "j", runs / "aide-3", d=0.75, l_mean=0.9, reliable=False)
    judge(tmp_path / "j", runs / "aide-6", d=0.25)
    known, refused = read_judgements([tmp_path / "j"], trusted(), rubric_of)
    return with_winners(read_agent_runs([runs], trusted()), known, refused, lambda task: PAIR)


def test_winners_have_d_l_and_distance_beside_fsr(judged: AgentRuns) -> None:
    by_seed = {winner.seed: winner for winner in judged.winners}
    assert sorted(by_seed) == list(SEEDS)
    told = {seed: (w.d, w.l, w.reliable) for seed, w in by_seed.items()}
    assert told == {1: (0.5, 0.25, True), 3: (0.75, 0.9, False), 6: (0.25, None, None)}
    assert all(w.recovered is not None and w.fsr is not None and w.node for w in judged.winners)
    assert not judged.refused


def test_the_table_has_them_and_marks_an_unreliable_l(judged: AgentRuns) -> None:
    section = agent_section(judged)
    assert section is not None and section.table.heads[5:8] == JUDGED_HEADS
    (row,) = section.table.rows
    assert row[5] == "0.500 (0.250 to 0.750)" and row[6] == "0.250; 1 unreliable"
    plain = agent_section(replace(judged, winners=()))
    assert plain is not None and plain.table.heads == HEADS and len(plain.table.rows[0]) == len(HEADS)


def test_fsr_is_drawn_against_each_of_them(judged: AgentRuns) -> None:
    titles = [figure.caption.split(": ")[1] for figure in winner_figures(judged.winners)]
    assert titles == [
        "FSR against distance recovered (tokens)",
        "FSR against D (probes)",
        "FSR against L (a model, reliable only)",
        "winners by task",
    ]
    figures = {figure.caption.split(": ")[1]: figure for figure in winner_figures(judged.winners)}
    assert len(figures["FSR against D (probes)"].plot.dots) == 3
    assert len(figures["FSR against L (a model, reliable only)"].plot.dots) == 1
    html = render(EMPTY, "t", 19, judged)
    assert "FSR against D (probes)" in html and "1 unreliable" in html and "n = 3, R" in html


def test_nothing_is_drawn_without_a_figure(judged: AgentRuns) -> None:
    bare = tuple(replace(w, d=None, l=None, recovered=None) for w in judged.winners)
    assert list(winner_figures(bare)) == []


def test_no_judgement_changes_a_row_of_the_board(judged: AgentRuns) -> None:
    one, other = (agent_section(runs) for runs in (judged, replace(judged, winners=())))
    assert one is not None and other is not None
    assert [(*row[:5], *row[8:]) for row in one.table.rows] == list(other.table.rows)


def test_judgements_of_untrusted_keys_and_broken_ones_do_not_count(runs: Path, tmp_path: Path) -> None:
    judge(tmp_path / "strange", runs / "aide-1", by=throwaway(), d=1.0)
    (tmp_path / "strange" / "04-x.json").write_text("{}")
    known, refused = read_judgements([tmp_path / "strange"], trusted(), rubric_of)
    assert not known and len(refused) == 2
    assert any("untrusted key" in reason for item in refused for reason in item.reasons)
    found = with_winners(read_agent_runs([runs], trusted()), known, refused, lambda task: None)
    assert [w.d for w in found.winners] == [None] * 3 and len(found.refused) == 2


def test_a_judgement_by_another_rubric_does_not_count(runs: Path, tmp_path: Path) -> None:
    judge(tmp_path / "j", runs / "aide-1", d=1.0)
    known, refused = read_judgements([tmp_path / "j"], trusted(), lambda task: Sha256("cd" * 32))
    assert not known and refused[0].reasons == ("judged by rubric abababababab, expected cdcdcdcdcdcd",)

    def none(task: str) -> Sha256:
        raise UsageError(f"task {task} has no rubric")

    known, refused = read_judgements([tmp_path / "j"], trusted(), none)
    assert not known and "has no rubric" in refused[0].reasons[0]


def test_the_newest_judgement_with_l_counts(runs: Path, tmp_path: Path) -> None:
    for name, about in {
        "a": {"d": 0.1, "l_mean": 0.1, "day": 1},
        "b": {"d": 0.2, "l_mean": 0.2, "day": 2},
        "c": {"d": 0.3, "day": 3},
    }.items():
        judge(tmp_path / name, runs / "aide-1", **about)  # type: ignore[arg-type]
    known, _ = read_judgements([tmp_path / name for name in "abc"], trusted(), rubric_of)
    assert [found.probes.value for found in known.values()] == [0.2]


def test_a_changed_winner_is_said(runs: Path, tmp_path: Path) -> None:
    found = read_agent_runs([runs], trusted())
    folder = Path(shutil.copytree(runs / "aide-1", tmp_path / "aide-1"))
    winner = read_run(folder).tree.winner()
    (folder / "nodes" / f"{winner:03d}" / "submission" / "train_gpt2.py").write_text("other")
    (group,) = found.groups
    changed = replace(group, runs=(replace(group.runs[0], folder=folder),), curves=group.curves[:1])
    told = with_winners(replace(found, groups=(changed,)), {}, (), lambda task: PAIR)
    assert not told.winners and "its winner was not compared" in told.refused[-1].reasons[0]


def test_the_fit_needs_three_points_that_differ() -> None:
    assert fit_text([(0.0, 0.0), (1.0, 1.0)]) == "n = 2"
    assert fit_text([(0.0, 0.0), (0.0, 1.0), (0.0, 2.0)]) == "n = 3"
    assert fit_text([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]) == "n = 3, R\u00b2 = 1.00"


def test_report_shows_them(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rubric, "load_rubric", lambda root, task: SimpleNamespace(sha256=DIGEST))
    judge(tmp_path / "j", runs / "aide-1", d=0.5, l_mean=0.25)
    (tmp_path / "board" / "submissions").mkdir(parents=True)
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "keys" / "them.pem").write_bytes(signer().public.pem)
    argv = [
        "report",
        str(tmp_path / "board"),
        "--out",
        str(tmp_path / "site"),
        "--keys",
        str(tmp_path / "keys"),
    ]
    argv += ["--judgements", str(tmp_path / "j"), "--json"]
    assert speedrun([*argv, "--agents", str(runs)]) == 0
    winners = json.loads(capsys.readouterr().out)["judged_winners"]
    assert sorted(w["d"] for w in winners if w["d"] is not None) == [0.5]
    assert "FSR against D" in (tmp_path / "site" / "index.html").read_text()

    def unreachable(*arguments: object) -> None:
        raise NetworkError("upstream does not answer")

    monkeypatch.setattr(scripts, "task_pair", unreachable)
    assert speedrun([*argv, "--agents", str(runs), "--distance"]) == 0
    said = capsys.readouterr()
    assert said.err.count("no distances for task") == 1 and "upstream does not answer" in said.err
    assert json.loads(said.out)["judged_winners"] == winners
    assert speedrun(argv) == 2
    assert "need --agents" in capsys.readouterr().err
    with pytest.raises(PrerequisiteError, match="no judgement in"):
        read_judgements([tmp_path / "keys"], trusted(), rubric_of)

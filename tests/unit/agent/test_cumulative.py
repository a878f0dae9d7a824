"""A cumulative run goes from winner to winner, survives a kill at any moment, and its chain is signed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_runs import ScriptReader, places, remember_edits, request, searched
from fake_search import Clock, Killed, Ticks, outcome, raise_killed

from kit.agent import chain_file
from kit.agent.chain import (
    FIRST,
    STAGES,
    Chain,
    ChainEnd,
    read_chain,
    read_chain_spec,
    stage_sha256,
)
from kit.agent.chain_file import CHAIN, read_signed_chain, verify_chain
from kit.agent.cumulative import ChainRun, chain_tasks, new_chain, stored_chain
from kit.agent.evaluator import EvaluatedRun
from kit.agent.events import Retimed
from kit.agent.journal import JOURNAL, open_journal
from kit.agent.kept import OWN_START
from kit.agent.llm.scripted import AnswerScript, ScriptedAnswer
from kit.agent.node import EvaluationStatus
from kit.agent.nodefiles import NodeFiles
from kit.agent.policy import POLICIES
from kit.agent.replayed import replay
from kit.agent.retiming import retimed_of
from kit.agent.session import AgentRun, stored_run
from kit.agent.task import OwnStart, starting_from
from kit.agent.verify import RunCheck
from kit.cli import run as speedrun
from kit.core.errors import IntegrityError, UsageError
from kit.core.facts import facts_root
from kit.evaluate.request import Request
from kit.result.keys import Signer, Trusted, load_or_create
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName

SMOKE = ("smoke-1", "smoke-2", "smoke-3")
RETIMED_MS = {1: 30_000.0, 2: 15_000.0, 3: 5_000.0}
EVALUATION = Request("smoke-1", Profile.SMOKE, runtime=RuntimeName.RUNC)


@pytest.fixture(autouse=True, scope="module")
def remembered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        remember_edits(patch)
        yield


def make_chain(base: Path, tasks: tuple[str, ...] = SMOKE, nodes: int = 4, **changes: Any) -> ChainRun:
    policy = replace(POLICIES["flat"], initial=nodes, max_nodes=nodes)
    asked = request(evaluation=EVALUATION, policy=policy, controls=0, **changes)
    return new_chain(facts_root(), asked, tasks, 2, places(base), base / "agent-runs")


def signer(run: ChainRun) -> Signer:
    return load_or_create(run.places.keys)


def trusted(run: ChainRun) -> Trusted:
    return Trusted((signer(run).public,))


def solver(
    ticks: Ticks | None = None, times: dict[int, float | None] | None = None, **parts: Any
) -> Callable[[AgentRun, int], bool]:
    """Search with scripted answers and an injected evaluator; the series of the winner is injected too."""
    ticks = ticks or Ticks()

    def solve(run: AgentRun, number: int) -> bool:
        end = searched(run, ticks, **{name: part(run, ticks) for name, part in parts.items()})
        assert end.tree.ended is not None
        winner = end.tree.ended.winner
        if winner is None or retimed_of(run.folder) is not None:
            return True
        series = run.places.out / "s00-series"
        series.mkdir(parents=True, exist_ok=True)
        (series / "series.json").write_text(f"the record of stage {number}")
        ticks.tick()
        mean: float | None = ({**RETIMED_MS, **(times or {})})[number]
        reached = 0 if mean is None else 2
        event = Retimed(winner, "s00-series", 2, 2000.0, mean, None if mean is None else 50.0, None, reached)
        with open_journal(run.folder, Clock(ticks), lambda value: value)[0] as journal:
            journal.append(event)
        return True

    return solve


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[ChainRun, Chain]:
    run = make_chain(tmp_path_factory.mktemp("chain"))
    progress = run.run(solver(), signer(run))
    assert not progress.interrupted
    return run, progress.chain


def test_each_stage_starts_with_the_winner_of_the_one_before(whole: tuple[ChainRun, Chain]) -> None:
    run, chain = whole
    assert chain.end is ChainEnd.COMPLETE
    assert [stage.task for stage in chain.stages] == list(SMOKE)
    one, two, three = chain.stages
    assert one.winner is not None and two.winner is not None and three.winner is not None
    assert one.start_sha256 == run.spec.first.start_sha256 and one.start_ms == 37_640.0
    assert two.start_sha256 == one.winner.submission_sha256 and two.start_ms == RETIMED_MS[1]
    assert three.start_sha256 == two.winner.submission_sha256 and three.start_ms == RETIMED_MS[2]
    won = NodeFiles(run.folder / STAGES / "01-smoke-1", one.winner.node)
    kept = run.folder / STAGES / "02-smoke-2" / OWN_START / "train_gpt2.py"
    assert kept.read_bytes() == (won.submission / "train_gpt2.py").read_bytes()


def test_fsr_is_measured_between_the_records_times(whole: tuple[ChainRun, Chain]) -> None:
    run, chain = whole
    for stage, task in zip(chain.stages, run.spec.tasks, strict=True):
        assert task.start_ms is not None and task.target_ms is not None and stage.winner is not None
        expected = (task.start_ms - RETIMED_MS[stage.number]) / (task.start_ms - task.target_ms)
        assert stage.winner.fsr == pytest.approx(expected)
        assert stage.winner.faster_than_start is True


def test_a_given_start_time_scales_the_times_of_all_tasks(tmp_path: Path) -> None:
    plain, scaled = make_chain(tmp_path), make_chain(tmp_path, start_ms=2 * 37_640.0)
    for one, other in zip(plain.spec.tasks, scaled.spec.tasks, strict=True):
        assert one.start_ms is not None and other.start_ms == pytest.approx(2 * one.start_ms)
        assert one.target_ms is not None and other.target_ms == pytest.approx(2 * one.target_ms)
    assert plain.folder != scaled.folder


def test_the_prompt_of_a_later_stage_has_the_own_script_and_says_so(whole: tuple[ChainRun, Chain]) -> None:
    prompt = (whole[0].folder / STAGES / "02-smoke-2" / "nodes" / "001" / "prompt.md").read_text()
    assert "scaled_dot_product_attention" in prompt and "is not that of record smoke-2" in prompt
    assert "took 30.00 s" in prompt
    first = (whole[0].folder / STAGES / "01-smoke-1" / "nodes" / "001" / "prompt.md").read_text()
    assert "Your start script" not in first


def test_the_chain_is_signed_and_links_its_stages(whole: tuple[ChainRun, Chain]) -> None:
    run, chain = whole
    signed = read_signed_chain(run.folder, trusted(run))
    assert signed.chain == chain and signed.trusted
    previous = [stage.previous for stage in chain.stages]
    assert previous == [FIRST, stage_sha256(chain.stages[0]), stage_sha256(chain.stages[1])]
    assert not read_signed_chain(run.folder, Trusted(())).trusted


def test_a_finished_chain_is_only_read(whole: tuple[ChainRun, Chain]) -> None:
    run, chain = whole

    def refuse(stage: AgentRun, number: int) -> bool:
        raise AssertionError(number)

    assert run.run(refuse, signer(run)).chain == chain


def test_a_stage_is_an_ordinary_run(whole: tuple[ChainRun, Chain], tmp_path: Path) -> None:
    run, chain = whole
    folder = run.folder / STAGES / "02-smoke-2"
    again = stored_run(facts_root(), folder, replace(EVALUATION, record="smoke-2"), run.places)
    assert again.own_start is not None and again.spec.start_sha256 == chain.stages[1].start_sha256
    replay(again, tmp_path / "again")
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / OWN_START / "train_gpt2.py").write_text("other")
    with pytest.raises(IntegrityError, match="start was changed"):
        stored_run(facts_root(), copy, replace(EVALUATION, record="smoke-2"), run.places)


def without_run_ids(chain: Chain) -> list[Any]:
    """Return what a kill does not change: scripts, winners and times."""
    return [
        (s.task, s.start_sha256, s.start_ms, s.winner and (s.winner.submission_sha256, s.winner.retimed_ms))
        for s in chain.stages
    ]


def test_a_chain_that_is_killed_anywhere_goes_on(tmp_path: Path) -> None:
    short = {"tasks": ("smoke-1", "smoke-2"), "nodes": 2}
    counter, whole = Ticks(), make_chain(tmp_path / "whole", **short)
    chain = whole.run(solver(counter), signer(whole)).chain
    assert chain.end is ChainEnd.COMPLETE and counter.count > 40
    for at in range(0, counter.count, 5):
        run = make_chain(tmp_path / str(at), **short)
        with pytest.raises(Killed):
            run.run(solver(Ticks(at, raise_killed)), signer(run))
        stored = stored_chain(facts_root(), run.folder, EVALUATION, run.places)
        assert stored.spec == run.spec
        progress = stored.run(solver(), signer(run))
        assert progress.chain.end is ChainEnd.COMPLETE, at
        assert without_run_ids(progress.chain) == without_run_ids(chain), at
        assert read_signed_chain(run.folder, trusted(run)).chain == progress.chain


def test_an_interrupted_stage_is_said_and_signed_as_open(tmp_path: Path) -> None:
    run = make_chain(tmp_path)
    solve = solver()
    progress = run.run(lambda stage, number: number == 1 and solve(stage, number), signer(run))
    assert progress.interrupted and progress.chain.end is None and len(progress.chain.stages) == 1
    assert read_signed_chain(run.folder, trusted(run)).chain == progress.chain


class Crashing(ScriptReader):
    """Nothing reaches the target loss."""

    def evaluate(self, submission: Path, reserved: Any, cancelled: Any) -> EvaluatedRun:
        run = super().evaluate(submission, reserved, cancelled)
        return replace(run, outcome=outcome(run.outcome.run_id, EvaluationStatus.MISSED, None))


def test_a_stage_without_a_valid_node_ends_the_chain(tmp_path: Path) -> None:
    run = make_chain(tmp_path)

    def second_fails(stage: AgentRun, number: int) -> bool:
        return (solver() if number == 1 else solver(evaluator=Crashing))(stage, number)

    chain = run.run(second_fails, signer(run)).chain
    assert chain.end is ChainEnd.NO_VALID_NODE
    assert [stage.winner is None for stage in chain.stages] == [False, True]
    assert speedrun(["agent", "show", str(run.folder)]) == 0


def test_a_winner_that_is_not_reproduced_ends_the_chain(tmp_path: Path) -> None:
    run = make_chain(tmp_path)
    chain = run.run(solver(times={1: None}), signer(run)).chain
    assert chain.end is ChainEnd.NOT_REPRODUCED and len(chain.stages) == 1
    won = chain.stages[0].winner
    assert won is not None and (won.reached, won.retimed_ms, won.fsr, won.faster_than_start) == (
        0, None, None, None,
    )  # fmt: skip


def test_a_slower_winner_goes_on_and_is_marked(tmp_path: Path) -> None:
    run = make_chain(tmp_path, tasks=("smoke-1", "smoke-2"))
    chain = run.run(solver(times={1: 90_000.0}), signer(run)).chain
    first = chain.stages[0].winner
    assert chain.end is ChainEnd.COMPLETE and first is not None
    assert first.faster_than_start is False and first.fsr is not None and first.fsr < 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 7}, "differs from the first one in seed"),
        ({"hints": (1,)}, "differs from the first one in hints"),
        ({"policy": replace(POLICIES["flat"], initial=9, max_nodes=9)}, "policy.initial, policy.max_nodes"),
    ],
)
def test_a_stage_of_another_search_is_no_stage(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    run, solve = make_chain(tmp_path, tasks=("smoke-1", "smoke-2")), solver()
    other = replace(run, request=replace(run.request, **changes))

    def second_is_of_another(stage: AgentRun, number: int) -> bool:
        return solve(stage if number == 1 else other.stage(2, read_chain(run.folder, run.spec)), number)

    with pytest.raises(IntegrityError, match=told):
        run.run(second_is_of_another, signer(run))


def test_a_winner_that_was_timed_less_often_is_refused(tmp_path: Path) -> None:
    run = make_chain(tmp_path, tasks=("smoke-1",))
    run.run(solver(), signer(run))
    with pytest.raises(IntegrityError, match="in 2 runs, expected 5"):
        read_chain(run.folder, replace(run.spec, retime=5))


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages themselves are verified elsewhere; an injected evaluation has no bundle."""
    monkeypatch.setattr(chain_file, "verify_run", lambda where, trusted: RunCheck(None, None, ()))


@pytest.mark.usefixtures("verified")
def test_an_intact_chain_has_no_fault(whole: tuple[ChainRun, Chain]) -> None:
    check = verify_chain(whole[0].folder, trusted(whole[0]))
    assert (check.faults, check.trusted, check.chain) == ((), True, whole[1])


def cut_last_stage(folder: Path) -> None:
    shutil.rmtree(folder / STAGES / "03-smoke-3")


def exchange_stages(folder: Path) -> None:
    (folder / STAGES / "03-smoke-3").rename(folder / "x")
    (folder / STAGES / "02-smoke-2").rename(folder / STAGES / "03-smoke-3")
    (folder / "x").rename(folder / STAGES / "02-smoke-2")


def change_series(folder: Path) -> None:
    (folder / STAGES / "02-smoke-2" / "bundles" / "s00-series" / "series.json").write_text("another")


def change_spec(folder: Path) -> None:
    document = json.loads((folder / "chain-spec.json").read_bytes())
    document["tasks"][2]["start_ms"] = 99_000.0
    (folder / "chain-spec.json").write_text(json.dumps(document))


def link_a_stage(folder: Path) -> None:
    (folder / STAGES / "02-smoke-2").rename(folder.parent / "another-run")
    (folder / STAGES / "02-smoke-2").symlink_to(folder.parent / "another-run")


def link_the_stages(folder: Path) -> None:
    (folder / STAGES).rename(folder.parent / "other-stages")
    (folder / STAGES).symlink_to(folder.parent / "other-stages")


@pytest.mark.usefixtures("verified")
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (cut_last_stage, "has 3 stages that have ended, and the directory 2"),
        (exchange_stages, "does not start with the winner of the stage before"),
        (change_series, "stage 2: its journal, winner or times are not those"),
        (change_spec, "does not have the digest"),
        (link_a_stage, "02-smoke-2 is a symbolic link"),
        (link_the_stages, "stages is a symbolic link"),
    ],
)
def test_a_changed_chain_is_noticed(
    whole: tuple[ChainRun, Chain], tmp_path: Path, change: Callable[[Path], None], fault: str
) -> None:
    folder = Path(shutil.copytree(whole[0].folder, tmp_path / "chain"))
    change(folder)
    assert any(fault in text for text in verify_chain(folder, trusted(whole[0])).faults)


def test_a_linked_stage_is_not_read(
    whole: tuple[ChainRun, Chain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, read = Path(shutil.copytree(whole[0].folder, tmp_path / "chain")), []
    monkeypatch.setattr(
        chain_file, "verify_run", lambda where, _: read.append(where) or RunCheck(None, None, ())
    )
    link_a_stage(folder)
    faults = verify_chain(folder, trusted(whole[0])).faults
    assert [where.name for where in read] == ["01-smoke-1", "03-smoke-3"]
    assert any(text.startswith("stage 2: ") and "symbolic link" in text for text in faults)


def test_stages_are_verified_as_runs(whole: tuple[ChainRun, Chain]) -> None:
    faults = verify_chain(whole[0].folder, trusted(whole[0])).faults
    assert any(text.startswith("stage 3: bundle run-1 of node 3") for text in faults)


def test_changed_files_of_a_winner_are_not_gone_on_with(tmp_path: Path) -> None:
    run, solve = make_chain(tmp_path), solver()
    run.run(lambda stage, number: number == 1 and solve(stage, number), signer(run))
    won = read_chain(run.folder, run.spec).stages[0].winner
    assert won is not None
    script = NodeFiles(run.folder / STAGES / "01-smoke-1", won.node).submission / "train_gpt2.py"
    script.write_text("other")
    with pytest.raises(IntegrityError, match="was changed"):
        run.run(solve, signer(run))


def test_a_directory_of_other_choices_is_refused(whole: tuple[ChainRun, Chain]) -> None:
    other = replace(whole[0], spec=replace(whole[0].spec, retime=5))
    with pytest.raises(UsageError, match="another cumulative run"):
        other.run(solver(), signer(other))


def test_answers_are_kept_for_resuming(tmp_path: Path) -> None:
    script = AnswerScript((ScriptedAnswer("no edit"),))
    run = make_chain(tmp_path, script=script, model=script.profile())
    assert run.run(solver(), signer(run)).chain.end is ChainEnd.NO_VALID_NODE
    assert stored_chain(facts_root(), run.folder, EVALUATION, run.places).request.script == script


def test_the_tasks_of_a_chain() -> None:
    root = facts_root()
    assert chain_tasks(root, "smoke-1", None) == SMOKE
    assert chain_tasks(root, "4", "8") == ("4", "5", "7", "8")
    with pytest.raises(UsageError, match="no task 6 in the set of task 4"):
        chain_tasks(root, "4", "6")
    with pytest.raises(UsageError, match="task 3 comes before task 4"):
        chain_tasks(root, "4", "3")
    with pytest.raises(UsageError, match="no task 3 in the set of task smoke-1"):
        chain_tasks(root, "smoke-1", "3")


def test_a_script_of_another_name_cannot_start_a_task(whole: tuple[ChainRun, Chain]) -> None:
    task = whole[0].stage(1, replace(whole[1], stages=())).task
    with pytest.raises(UsageError, match=r"has no train_gpt2\.py"):
        starting_from(task, OwnStart({"train_gpt.py": b""}, 1.0))


def test_the_commands_show_and_verify_a_chain(
    whole: tuple[ChainRun, Chain], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(whole[0].folder)
    assert speedrun(["agent", "show", folder]) == 0
    shown = capsys.readouterr().out
    assert "end: complete" in shown and shown.count(" node ") == 3
    assert speedrun(["agent", "show", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["end"] == "complete"
    assert speedrun(["agent", "verify", folder, "--keys", str(whole[0].places.keys), "--json"]) == 4
    told = json.loads(capsys.readouterr().out)
    assert (told["stages"], told["end"], told["trusted"]) == (3, "complete", True)
    assert read_chain_spec(whole[0].folder) == whole[0].spec


def test_the_plan_has_a_line_for_each_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["agent", "cumulative", "--from", "smoke-1", "--to", "smoke-2", "--model", "scripted", "--plan"]
    words += ["--runtime", "runc", "--out", str(tmp_path), "--store", str(tmp_path / "store")]
    assert speedrun([*words, "--nodes", "2", "--retime", "1", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [(s["task"], s["nodes"], s["retime_runs"]) for s in plan["stages"]] == [
        ("smoke-1", 2, 6),
        ("smoke-2", 2, 6),
    ]
    assert speedrun(words) == 0
    assert "smoke-2" in capsys.readouterr().out
    assert speedrun(words[:2] + words[4:]) == 2
    assert "--from is missing" in capsys.readouterr().err
    assert not list(tmp_path.glob("cumulative-*"))


def test_the_journal_of_a_stage_that_was_only_created_is_no_stage(tmp_path: Path) -> None:
    run = make_chain(tmp_path)
    folder = run.folder / STAGES / "01-smoke-1"
    folder.mkdir(parents=True)
    (folder / JOURNAL).write_bytes(b'{"torn')
    assert read_chain(run.folder, run.spec).stages == ()
    assert (CHAIN, FIRST) == ("chain.json", "0" * 64)

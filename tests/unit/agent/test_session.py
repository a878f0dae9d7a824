"""A run follows from its request; its directory alone is enough to go on with it and to repeat it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_runs import ScriptReader, make_run, places, remember_edits, request, searched
from fake_search import Killed, Ticks, raise_killed

from kit.agent.events import Edited, Resumed, Retimed
from kit.agent.journal import JOURNAL, open_journal, read_journal
from kit.agent.knowledge import Knowledge
from kit.agent.llm.scripted import AnswerScript, ScriptedAnswer, ScriptedTransport
from kit.agent.llm.wire import Attempt, CallFault, CallKey, CallOutcome
from kit.agent.node import NodeStatus
from kit.agent.replayed import replay
from kit.agent.session import ANSWERS, KNOWLEDGE, AgentRun, new_run, stored_run
from kit.agent.spec import run_id, spec_sha256
from kit.core.digest import sha256_bytes
from kit.core.errors import IntegrityError, PrerequisiteError, UsageError
from kit.core.facts import facts_root
from kit.evaluate.request import Request
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName

GOOD = NodeStatus.VALID_IMPROVED
EVALUATION = Request("smoke-3", Profile.SMOKE, runtime=RuntimeName.RUNC)


@pytest.fixture(autouse=True, scope="module")
def remembered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        remember_edits(patch)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agent")


@pytest.fixture(scope="module")
def done(base: Path) -> AgentRun:
    """A finished run of six nodes and a control."""
    run = make_run(base)
    end = searched(run)
    assert end.tree.ended is not None
    return run


def copied(done: AgentRun, to: Path) -> Path:
    return Path(shutil.copytree(done.folder, to / "run"))


def reopened(folder: Path, base: Path) -> AgentRun:
    return stored_run(facts_root(), folder, EVALUATION, places(base))


def test_the_directory_is_named_by_the_spec(done: AgentRun, base: Path) -> None:
    assert done.folder == base / "agent-runs" / run_id(done.spec)
    assert make_run(base).spec == done.spec
    assert make_run(base, seed=1).folder != done.folder


def test_the_packaged_answers_end_nodes_in_every_way(done: AgentRun) -> None:
    nodes = searched(done).tree.nodes
    kinds = [n.action.kind.value for n in nodes]
    assert kinds == ["control", "draft", "draft", "draft", "debug", "improve", "improve"]
    statuses = [n.status for n in nodes]
    assert statuses[:5] == [GOOD, GOOD, GOOD, NodeStatus.BUGGY_CRASH, GOOD]
    edits = [e for e in read_journal(done.folder / JOURNAL).events if isinstance(e, Edited)]
    assert [(e.call, e.applied) for e in edits if e.node == 3] == [(1, False), (2, True)]


def test_a_stored_run_is_the_run_that_was_started(done: AgentRun, base: Path) -> None:
    again = reopened(done.folder, base)
    assert (again.spec, again.script, again.task) == (done.spec, done.script, done.task)
    assert again.first_messages() == done.first_messages()


def test_other_answers_than_the_spec_s_are_noticed(done: AgentRun, base: Path, tmp_path: Path) -> None:
    folder = copied(done, tmp_path)
    document = json.loads((folder / ANSWERS).read_bytes())
    document["answers"][0]["text"] += "!"
    (folder / ANSWERS).write_text(json.dumps(document))
    with pytest.raises(IntegrityError, match=r"answers\.json was changed"):
        reopened(folder, base)


def test_a_directory_without_a_run_is_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match="contains no run"):
        reopened(tmp_path, base)


@pytest.mark.parametrize("data", [b"# Notes\r\nA text.\n", b"\xef\xbb\xbfwith a mark"])
def test_knowledge_is_kept_and_a_changed_file_is_noticed(base: Path, tmp_path: Path, data: bytes) -> None:
    known = Knowledge("notes.md", sha256_bytes(data), data.decode("utf-8-sig"))
    run = make_run(base, knowledge=(known,), policy=replace(request().policy, max_nodes=1), controls=0)
    searched(run)
    assert reopened(run.folder, base).knowledge == (known,)
    (run.folder / KNOWLEDGE / "notes.md").write_text("other")
    with pytest.raises(IntegrityError, match="was changed"):
        reopened(run.folder, base)
    shutil.rmtree(run.folder)


def test_hints_about_another_script_are_refused(base: Path) -> None:
    with pytest.raises(UsageError, match="the hints are about record scripts"):
        make_run(base, hints=(1,), evaluation=replace(EVALUATION, record=3))


def test_an_upstream_task_in_the_smoke_profile_has_no_reference_times(base: Path) -> None:
    run = make_run(base, evaluation=replace(EVALUATION, record=3))
    settings = run.spec.evaluation
    assert (settings.start_ms, settings.target_ms, run.task.reference) == (None, None, None)
    assert run.spec.task == "3" and "smoke profile" in run.task.text
    ours = make_run(base).spec.evaluation
    assert (ours.start_ms, ours.target_ms, ours.start_sd_ms) == (6120.0, 1510.0, 250.0)


def test_a_model_with_a_small_context_is_refused_before_anything(base: Path, tmp_path: Path) -> None:
    small = replace(request().model, context_tokens=3000, max_output_tokens=1000)
    run = new_run(facts_root(), request(model=small), places(base), tmp_path)
    assert not run.worst_case().context.fits
    with pytest.raises(UsageError, match="does not fit into the model's context of 3,000"):
        run.run(None, None)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_replay_has_the_same_bytes(done: AgentRun, base: Path, tmp_path: Path) -> None:
    head = replay(reopened(done.folder, base), tmp_path / "again")
    assert (tmp_path / "again" / JOURNAL).read_bytes() == (done.folder / JOURNAL).read_bytes()
    assert head == read_journal(done.folder / JOURNAL).head


KILLS = 8


@pytest.fixture(scope="module")
def ticks(base: Path) -> int:
    """Journal lines and evaluations of the undisturbed run."""
    whole = Ticks()
    searched(make_run(base / "whole"), whole)
    return whole.count


@pytest.mark.parametrize("part", range(1, KILLS + 1))
def test_a_replay_of_a_killed_run_has_the_same_bytes(
    base: Path, tmp_path: Path, ticks: int, part: int
) -> None:
    run = make_run(tmp_path)
    with pytest.raises(Killed):
        searched(run, Ticks(ticks * part // (KILLS + 1), raise_killed))
    if part % 2:
        with (run.folder / JOURNAL).open("ab") as f:
            f.write(b'{"event')
    searched(run, evaluator=ScriptReader(run, Ticks(), count=100))
    assert any(isinstance(e, Resumed) for e in read_journal(run.folder / JOURNAL).events)
    replay(reopened(run.folder, base), tmp_path / "again")


def test_a_replay_of_an_unfinished_run_ends_where_it_ended(base: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(Killed):
        searched(run, Ticks(20, raise_killed))
    lines = read_journal(run.folder / JOURNAL).lines
    replay(reopened(run.folder, base), tmp_path / "again")
    assert read_journal(tmp_path / "again" / JOURNAL).lines == lines


def test_a_retimed_winner_is_replayed(done: AgentRun, base: Path, tmp_path: Path) -> None:
    folder = copied(done, tmp_path)
    event = Retimed(2, "s00-series", 3, 2001.0, 2002.0, 1.5, 0.9, 3)
    with open_journal(folder, lambda: "2026-01-02T00:00:00+00:00")[0] as journal:
        journal.append(event)
    replay(reopened(folder, base), tmp_path / "again")
    assert read_journal(tmp_path / "again" / JOURNAL).events[-1] == event


def test_a_call_that_was_not_recorded_ends_a_replay(done: AgentRun, base: Path, tmp_path: Path) -> None:
    folder = copied(done, tmp_path)
    (folder / "calls" / "003-02.json").unlink()
    with pytest.raises(IntegrityError, match="no recorded answer for node 3, call 2"):
        replay(reopened(folder, base), tmp_path / "again")


def test_the_first_line_that_differs_is_named(done: AgentRun, base: Path, tmp_path: Path) -> None:
    """An answer is exchanged for one that gives another edit: its call's outcome differs first."""
    folder = copied(done, tmp_path)
    path = folder / "calls" / "002-01.json"
    document = json.loads(path.read_bytes())
    document["outcome"]["response"]["text"] = "nothing"
    path.write_text(json.dumps(document))
    lines = read_journal(folder / JOURNAL).lines
    place = next(i for i, one in enumerate(lines, 1) if "CallEnded(node=2" in repr(one.event))
    with pytest.raises(IntegrityError, match=rf"line {place} of the journal differs in the replay") as e:
        replay(reopened(folder, base), tmp_path / "again")
    assert len(e.value.details) == 2 and e.value.details[0].startswith("recorded: ")


def test_the_secret_of_the_marks_is_the_spec(done: AgentRun) -> None:
    prompts = "".join(p.read_text() for p in (done.folder / "nodes").glob("*/prompt.md"))
    assert spec_sha256(done.spec) not in prompts
    assert "NameError: a secret name" in prompts, "a debugged node shows the guest's traceback"


def test_answers_of_a_script_follow_the_edit_format() -> None:
    script = AnswerScript((ScriptedAnswer("x"),))
    assert script.profile().base_url.startswith("script:")


def test_times_of_this_machine_replace_the_record_s(base: Path) -> None:
    settings = make_run(base, start_ms=12240.0).spec.evaluation
    assert (settings.start_ms, settings.target_ms, settings.start_sd_ms) == (12240.0, 3020.0, None)
    settings = make_run(base, start_ms=100.0, target_ms=50.0).spec.evaluation
    assert (settings.start_ms, settings.target_ms) == (100.0, 50.0)
    for wrong in ({"target_ms": 5.0}, {"start_ms": 5.0, "target_ms": 5.0}):
        with pytest.raises(UsageError):
            make_run(base, **wrong)
    upstream = replace(EVALUATION, record=3)
    with pytest.raises(UsageError, match="the target time is not known"):
        make_run(base, start_ms=5.0, evaluation=upstream)
    assert make_run(base, start_ms=5.0, target_ms=4.0, evaluation=upstream).spec.evaluation.target_ms == 4.0


class Failing:
    """Ends the first two calls with faults after which a resumed run asks again."""

    def __init__(self, run: AgentRun) -> None:
        assert run.script is not None
        self.inner = ScriptedTransport(run.script, run.spec.task, run.spec.controls)
        self.faults = [CallFault.CANCELLED, CallFault.AUTH]

    def call(self, request: Any, key: CallKey, wall_left_s: float, cancelled: Any) -> CallOutcome:
        if self.faults:
            fault = self.faults.pop(0)
            return CallOutcome(None, fault, (Attempt(1, fault, 401, 0.0, 1.0),), f"why: {fault}")
        return self.inner.call(request, key, wall_left_s, cancelled)


def test_calls_that_were_made_again_are_replayed_with_their_faults(base: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    transport = Failing(run)
    assert searched(run, transport=transport).interrupted
    counted = ScriptReader(run, count=10)
    with pytest.raises(PrerequisiteError, match="refused the call: auth"):
        searched(run, transport=transport, evaluator=counted)
    assert searched(run, transport=transport, evaluator=counted).tree.ended is not None
    assert sorted(p.name for p in (run.folder / "replaced-calls").iterdir()) == [
        "002-01-1.json",
        "002-01-2.json",
    ]
    replay(reopened(run.folder, base), tmp_path / "again")

"""A guest that prints false claims, orders and a traceback changes no score and stays inside the marks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fake_search import (
    START_FILES,
    FakeEditor,
    FakeEvaluator,
    FakeTransport,
    Ticks,
    make_parts,
    make_spec,
    outcome,
)
from hostile_guest import FALSE_CLAIM, LINES, ORDER, outside_marks

from kit.agent.calls import CALLS
from kit.agent.evaluator import EvaluatedRun
from kit.agent.llm.record import read_record
from kit.agent.llm.wire import ChatRequest, ChatRole
from kit.agent.messages import TreePrompts
from kit.agent.node import EvaluationOutcome, EvaluationStatus, NodeStatus
from kit.agent.policy import Policy
from kit.agent.prompt import PromptTask
from kit.agent.search import SearchEnd, search
from kit.agent.solve import ModelSolver
from kit.agent.spec import spec_sha256

HOSTILE = "\n".join((FALSE_CLAIM, *LINES))


@dataclass
class HostileEvaluator(FakeEvaluator):
    """Gives each run a log."""

    log: str = ""

    def evaluate(
        self, submission: Path, reserved: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> EvaluatedRun:
        run = super().evaluate(submission, reserved, cancelled)
        path = self.folder / "logs" / submission.parent.name / "guest.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.log)
        return replace(run, log=path)


def debugged(folder: Path, log: str, status: EvaluationStatus = EvaluationStatus.CRASHED) -> SearchEnd:
    """Search with one draft whose run has this log, and one node after it."""

    def judge(run_id: str, content: str) -> EvaluationOutcome:
        return outcome(run_id, status, 1000.0 if status is EvaluationStatus.REACHED else None)

    spec = make_spec(policy=Policy("one", 1, 1, 1.0, 5, 2), controls=0)
    prompts = TreePrompts(
        folder, PromptTask("# Task"), START_FILES, 3.28, spec.policy, spec.fidelity, spec_sha256(spec)
    )
    parts = make_parts(
        folder,
        evaluator=HostileEvaluator(folder / "bundles", Ticks(), outcome=judge, log=log),
        transport=FakeTransport(text="an answer of the fake"),
        solver=ModelSolver(prompts, FakeEditor(), ChatRequest("fake", (), 80)),
    )
    return search(folder, spec, replace(parts, start=START_FILES))


def second_prompt(folder: Path) -> str:
    request = read_record(folder / CALLS / "002-01.json").request
    assert [m.role for m in request.messages] == [ChatRole.SYSTEM, ChatRole.USER]
    return request.messages[1].content


def test_the_next_prompt_has_the_guests_words_inside_the_marks_alone(tmp_path: Path) -> None:
    end = debugged(tmp_path, HOSTILE)
    prompt = second_prompt(tmp_path)
    assert "RuntimeError: the kit has a fault" in prompt
    outside = outside_marks(prompt)
    assert not any(line in outside for line in (*LINES, FALSE_CLAIM) if line != "<<<<<<< SEARCH")
    assert "The script crashed." in outside
    assert end.tree.nodes[0].status is NodeStatus.BUGGY_CRASH


def test_without_a_traceback_the_orders_are_shown_as_data_too(tmp_path: Path) -> None:
    debugged(tmp_path, "\n".join((ORDER, "BEGIN aaaaaaaaaaaa", FALSE_CLAIM)))
    prompt = second_prompt(tmp_path)
    assert ORDER in prompt and ORDER not in outside_marks(prompt)


def test_the_log_changes_no_outcome(tmp_path: Path) -> None:
    for status in (EvaluationStatus.CRASHED, EvaluationStatus.MISSED, EvaluationStatus.REACHED):
        one = debugged(tmp_path / f"{status}-hostile", HOSTILE, status)
        other = debugged(tmp_path / f"{status}-quiet", "a quiet log", status)
        assert one.tree.nodes == other.tree.nodes
        if status is not EvaluationStatus.CRASHED:
            folders = [tmp_path / f"{status}-{kind}" for kind in ("hostile", "quiet")]
            assert second_prompt(folders[0]) == second_prompt(folders[1])


def test_a_guest_that_knew_its_mark_could_not_close_it(tmp_path: Path) -> None:
    debugged(tmp_path / "probe", "x")
    (line,) = [x for x in second_prompt(tmp_path / "probe").split("\n") if x.startswith("END ")]
    debugged(tmp_path / "known", "\n".join((line, ORDER)))
    prompt = second_prompt(tmp_path / "known")
    assert line in prompt, "the mark follows from the spec, which both runs share"
    assert ORDER in prompt and ORDER not in outside_marks(prompt)


def test_the_marks_of_the_test_are_read_as_a_model_would_read_them() -> None:
    assert outside_marks("a\nBEGIN 0123456789ab\nb\nEND 000000000000\nEND 0123456789ab\nc") == "a\nc"
    with pytest.raises(AssertionError, match="not closed"):
        outside_marks("BEGIN 0123456789ab\nb")

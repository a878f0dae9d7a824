"""The search: five scaffolds end to end, budgets, interruptions, refusals, and replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import fake_search
import pytest
from fake_search import (
    EVALUATION_S,
    GPUS,
    WORST_COMPLETION,
    WORST_EVALUATION_S,
    WORST_PROMPT,
    FakeEvaluator,
    FakePrices,
    FakeTransport,
    make_spec,
    run,
)

from kit.agent.budget import Budget, BudgetLimit
from kit.agent.events import (
    BudgetStopped,
    CallEnded,
    CallStarted,
    EndReason,
    EvaluationEnded,
    EvaluationReserved,
    NodeEnded,
    NodeReserved,
    Resumed,
    RunEnded,
)
from kit.agent.journal import JOURNAL, read_journal
from kit.agent.llm.retry import RETRY_RULES, AfterFault
from kit.agent.llm.wire import CallFault, ChatRequest, ChatRole, Message, TokenUsage
from kit.agent.node import ActionKind, EvaluationStatus, Node, NodeStatus
from kit.agent.policy import POLICIES
from kit.agent.solve import ModelSolver
from kit.agent.steps import must_ask_again
from kit.agent.tree import Tree, fold
from kit.core.errors import IntegrityError, PrerequisiteError, RunError, UsageError


@pytest.mark.parametrize("scaffold", POLICIES)
def test_every_reserved_node_call_and_evaluation_ends_in_a_line(tmp_path: Path, scaffold: str) -> None:
    end = run(tmp_path, make_spec(scaffold))
    events = read_journal(tmp_path / JOURNAL, end.head).events
    for begun, ended in ((NodeReserved, NodeEnded), (EvaluationReserved, EvaluationEnded)):
        assert [e.node for e in events if isinstance(e, begun)] == [
            e.node for e in events if isinstance(e, ended)
        ]
    assert [(e.node, e.call) for e in events if isinstance(e, CallStarted)] == [
        (e.node, e.call) for e in events if isinstance(e, CallEnded)
    ]
    assert len(end.tree.searched) == 20
    assert end.tree == fold(events)
    assert end.tree.ended == RunEnded(EndReason.COMPLETE, end.tree.winner())
    best = min(n.evaluation.time_ms for n in end.tree.searched if n.status and n.status.valid)  # type: ignore
    assert end.tree.node(end.tree.winner()).evaluation.time_ms == best  # type: ignore


def test_a_finished_run_is_only_read(tmp_path: Path) -> None:
    first = run(tmp_path)
    again = run(tmp_path, transport=FakeTransport(faults={}, text="never asked"))
    assert again == first


def test_replay_with_the_recorded_times_writes_the_same_journal(tmp_path: Path) -> None:
    run(tmp_path / "first")
    recorded = [line.time for line in read_journal(tmp_path / "first" / JOURNAL).lines]
    run(tmp_path / "second", now=iter(recorded).__next__)
    assert (tmp_path / "first" / JOURNAL).read_bytes() == (tmp_path / "second" / JOURNAL).read_bytes()


def test_times_decide_nothing_but_the_wall_budget(tmp_path: Path) -> None:
    slow = fake_search.Clock(fake_search.Ticks(), step=977.5)
    one, other = run(tmp_path / "one"), run(tmp_path / "other", now=slow)
    assert one.tree == other.tree and one.head != other.head


LIMITS: list[tuple[BudgetLimit, Budget, float]] = [
    (BudgetLimit.NODES, Budget(nodes=5), 1),
    (BudgetLimit.EVALUATIONS, Budget(evaluations=6), 1),
    (BudgetLimit.GPU_SECONDS, Budget(gpu_seconds=4000.0), WORST_EVALUATION_S * GPUS),
    (BudgetLimit.WALL_S, Budget(wall_s=150.0), WORST_EVALUATION_S),
    (BudgetLimit.PROMPT_TOKENS, Budget(prompt_tokens=800), WORST_PROMPT),
    (BudgetLimit.COMPLETION_TOKENS, Budget(completion_tokens=400), WORST_COMPLETION),
    (BudgetLimit.TOKENS, Budget(tokens=1200), WORST_PROMPT + WORST_COMPLETION),
    (BudgetLimit.USD, Budget(usd=1.5), (WORST_PROMPT + WORST_COMPLETION) * fake_search.USD_PER_TOKEN),
]


@pytest.mark.parametrize(("limit", "budget", "worst"), LIMITS)
def test_a_budget_stops_within_one_worst_case_step_and_is_never_exceeded(
    tmp_path: Path, limit: BudgetLimit, budget: Budget, worst: float
) -> None:
    end = run(tmp_path, make_spec(budget=budget))
    stopped = end.tree.stopped
    assert isinstance(stopped, BudgetStopped) and stopped.limit is limit
    assert end.tree.ended is not None and end.tree.ended.reason is EndReason.BUDGET
    assert all(node.status is not None for node in end.tree.nodes)
    allowed, spent = stopped.allowed, end.spent.charged.of(limit)
    if limit is not BudgetLimit.WALL_S:  # the lines that end the run take time, too
        assert spent <= allowed
    assert spent > allowed - worst


@pytest.mark.parametrize("fault", [CallFault.EMPTY, CallFault.TIMEOUT, None])
def test_missing_usage_is_charged_at_the_worst_case(tmp_path: Path, fault: CallFault | None) -> None:
    transport = FakeTransport(faults={(2, 1): fault} if fault else {}, usage=TokenUsage())
    end = run(tmp_path, make_spec(budget=Budget(tokens=1000)), transport=transport)
    calls = len(transport.asked)
    assert calls == 1000 // (WORST_PROMPT + WORST_COMPLETION)
    assert end.spent.unknown.prompt_tokens == calls * WORST_PROMPT
    assert end.spent.known.prompt_tokens == 0


def test_a_malformed_answer_is_charged(tmp_path: Path) -> None:
    end = run(tmp_path, make_spec(budget=Budget(nodes=1)), transport=FakeTransport(text="not an edit"))
    calls = [e for e in read_journal(tmp_path / JOURNAL).events if isinstance(e, CallEnded)]
    assert end.tree.node(2).status is NodeStatus.EDIT_FAILED
    assert [e.call for e in calls] == [1, 2, 3, 4]
    assert end.spent.known.prompt_tokens == 4 * fake_search.PROMPT_TOKENS


@pytest.mark.parametrize(("limit", "budget", "worst"), LIMITS)
def test_each_budget_survives_two_interruptions(
    tmp_path: Path, limit: BudgetLimit, budget: Budget, worst: float
) -> None:
    whole = run(tmp_path / "whole", make_spec(budget=budget))
    for at in (8, 14):
        with pytest.raises(fake_search.Killed):
            ticks = fake_search.Ticks(at, fake_search.raise_killed)
            run(tmp_path / "cut", make_spec(budget=budget), ticks=ticks)
    end = run(tmp_path / "cut", make_spec(budget=budget))
    events = read_journal(tmp_path / "cut" / JOURNAL, end.head).events
    assert any(isinstance(e, Resumed) for e in events)
    stopped = end.tree.stopped
    assert isinstance(stopped, BudgetStopped) and stopped.limit is limit
    allowed, spent = stopped.allowed, end.spent.charged.of(limit)
    if limit is not BudgetLimit.WALL_S:  # the lines that end the run take time, too
        assert spent <= allowed
    assert spent > allowed - worst
    assert len(end.tree.nodes) <= len(whole.tree.nodes)


def test_a_budget_stop_that_was_interrupted_is_finished(tmp_path: Path) -> None:
    budget = Budget(tokens=1200)
    run(tmp_path / "whole", make_spec(budget=budget))
    contents = read_journal(tmp_path / "whole" / JOURNAL)
    stop = next(i for i, e in enumerate(contents.events) if isinstance(e, BudgetStopped))
    lines = (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    (tmp_path / "whole" / JOURNAL).write_bytes(b"".join(lines[: stop + 1]))
    end = run(tmp_path / "whole", make_spec(budget=budget))
    assert end.tree.nodes == fold(contents.events).nodes
    assert end.tree.ended == fold(contents.events).ended


def test_usd_without_prices_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no prices"):
        run(tmp_path / "run", make_spec(budget=Budget(usd=5.0)), prices=FakePrices(known=False))
    assert not (tmp_path / "run").exists()


def test_another_spec_in_the_same_directory_is_refused_by_name(tmp_path: Path) -> None:
    run(tmp_path, make_spec("flat"))
    before = (tmp_path / JOURNAL).read_bytes()
    other = make_spec("aide", seed=8, budget=Budget(usd=1.0))
    with pytest.raises(UsageError, match=r"budget\.usd, policy\.branch, .*policy\.name, seed"):
        run(tmp_path, other)
    (tmp_path / "spec.json").unlink()
    with pytest.raises(UsageError, match="seed"):
        run(tmp_path, other)
    assert (tmp_path / JOURNAL).read_bytes() == before


def test_start_files_that_are_not_the_specs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="start script"):
        run(tmp_path, start={"train_gpt2.py": b"other"})


class Cancels:
    """Cancelled after some questions."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("after", [0, 1, 2, 7, 20, 40])
def test_ctrl_c_ends_between_two_steps_and_the_run_resumes(tmp_path: Path, after: int) -> None:
    cut = run(tmp_path / "cut", cancelled=Cancels(after))
    assert cut.interrupted and cut.tree.ended is None
    end, whole = run(tmp_path / "cut"), run(tmp_path / "whole")
    assert not end.interrupted
    assert fake_search.comparable(end) == fake_search.comparable(whole)
    assert end.spent.unknown == whole.spent.unknown
    events = read_journal(tmp_path / "cut" / JOURNAL).events
    assert [e.reason for e in events if isinstance(e, Resumed)] == [
        "the last process ended between two steps"
    ]


def test_a_cancelled_call_and_a_cancelled_evaluation_are_repeated(tmp_path: Path) -> None:
    cut = run(tmp_path / "cut", transport=FakeTransport(faults={(2, 1): CallFault.CANCELLED}))
    assert cut.interrupted and cut.tree.open is not None
    cut = run(tmp_path / "cut", evaluator=FakeEvaluator(tmp_path / "cut" / "bundles", outcome=cancelled))
    assert cut.interrupted and cut.tree.open is not None
    end, whole = run(tmp_path / "cut"), run(tmp_path / "whole")
    assert [n.status for n in end.tree.nodes] == [n.status for n in whole.tree.nodes]
    assert end.spent.unknown.prompt_tokens == whole.spent.unknown.prompt_tokens + WORST_PROMPT
    assert end.spent.known.gpu_seconds == whole.spent.known.gpu_seconds + EVALUATION_S * GPUS


def cancelled(run_id: str, content: str) -> fake_search.EvaluationOutcome:
    return fake_search.outcome(run_id, EvaluationStatus.CANCELLED, None)


def test_the_run_stops_for_the_faults_that_the_retry_table_says() -> None:
    for fault, rule in RETRY_RULES.items():
        assert must_ask_again(fault) == (rule.then is AfterFault.STOP_RUN), fault


@pytest.mark.parametrize(
    "fault", [CallFault.AUTH, CallFault.NOT_FOUND, CallFault.BAD_REQUEST, CallFault.UNREACHABLE]
)
def test_a_fault_of_every_call_stops_the_run_and_ends_no_node(tmp_path: Path, fault: CallFault) -> None:
    told = "^detail of 2" if fault is CallFault.UNREACHABLE else f"refused the call: {fault.value}"
    with pytest.raises(PrerequisiteError, match=told):
        run(tmp_path / "cut", transport=FakeTransport(faults={(2, 1): fault}))
    end, whole = run(tmp_path / "cut"), run(tmp_path / "whole")
    assert fake_search.comparable(end) == fake_search.comparable(whole)


def test_three_failures_of_the_endpoint_in_a_row_stop_the_run(tmp_path: Path) -> None:
    faults = {(node, 1): CallFault.OVERLOADED for node in range(2, 8)}
    transport = FakeTransport(faults=faults)
    for expected in (3, 6):
        with pytest.raises(RunError, match="3 nodes in a row"):
            run(tmp_path, transport=transport)
        assert len(transport.asked) == expected
    end = run(tmp_path, transport=transport)
    failed = [node.id for node in end.tree.nodes if node.status is NodeStatus.INFRA_FAILED]
    assert failed[:6] == [2, 3, 4, 5, 6, 7]


def test_two_writers_are_refused(tmp_path: Path) -> None:
    refused: list[str] = []
    spec = make_spec(budget=Budget(nodes=0))

    def second(run_id: str, content: str) -> fake_search.EvaluationOutcome:
        with pytest.raises(UsageError) as e:
            run(tmp_path, spec)
        refused.append(e.value.message)
        return fake_search.default_outcome(run_id, content)

    run(tmp_path, spec, evaluator=FakeEvaluator(tmp_path / "bundles", outcome=second))
    assert refused == [f"another process is writing {tmp_path / JOURNAL}"]


SECRET = "sk-sentinel-0123456789"


def redact(value: object) -> object:
    """Replace the secret in a JSON value."""
    if isinstance(value, str):
        return value.replace(SECRET, "[api key]")
    if isinstance(value, dict):
        return {key: redact(item) for key, item in value.items()}
    return [redact(item) for item in value] if isinstance(value, list) else value


def test_a_key_that_the_endpoint_or_the_guest_repeats_reaches_no_file(tmp_path: Path) -> None:
    def leaking(run_id: str, content: str) -> fake_search.EvaluationOutcome:
        return replace(fake_search.default_outcome(run_id, content), reason=f"the key is {SECRET}")

    run(
        tmp_path,
        transport=FakeTransport(text=f"{fake_search.SIGNATURE} {SECRET}"),
        evaluator=FakeEvaluator(tmp_path / "bundles", outcome=leaking),
        records=fake_search.CallFolder(tmp_path, redact),
        redact=redact,
    )
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert (tmp_path / JOURNAL) in files and len(files) > 50
    assert [p for p in files if SECRET.encode() in p.read_bytes()] == []
    assert b"[api key]" in (tmp_path / JOURNAL).read_bytes()


def test_control_nodes_evaluate_the_unchanged_parent_call_no_model_and_do_not_count(tmp_path: Path) -> None:
    transport = FakeTransport()
    end = run(tmp_path, make_spec("flat", controls=3), transport=transport)
    controls = [node for node in end.tree.nodes if node.action.kind is ActionKind.CONTROL]
    assert [node.id for node in controls] == [1, 2, 3] and len(end.tree.nodes) == 23
    assert {node.submission_sha256 for node in controls} == {make_spec().start_sha256}
    assert min(key.node for key in transport.asked) == 4
    assert end.spent.known.nodes == 20


def test_a_changed_submission_is_no_parent(tmp_path: Path) -> None:
    spec = make_spec("tree")
    with pytest.raises(fake_search.Killed):
        run(tmp_path, spec, ticks=fake_search.Ticks(230, fake_search.raise_killed))
    for script in (tmp_path / "nodes").glob("*/submission/train_gpt2.py"):
        script.write_bytes(b"tampered")
    with pytest.raises(IntegrityError, match="was changed"):
        run(tmp_path, spec)


class OtherPrompts(fake_search.FakePrompts):
    """Prompts of another version."""

    def prompt(self, node: Node, tree: Tree) -> tuple[Message, ...]:
        return (*super().prompt(node, tree), Message(ChatRole.USER, "Be quick."))


def test_a_changed_prompt_and_a_changed_record_are_refused_on_resume(tmp_path: Path) -> None:
    def dies(run_id: str, content: str) -> fake_search.EvaluationOutcome:
        if not run_id.startswith("001"):
            raise fake_search.Killed
        return fake_search.default_outcome(run_id, content)

    with pytest.raises(fake_search.Killed):
        run(tmp_path, evaluator=FakeEvaluator(tmp_path / "bundles", outcome=dies))
    solver = ModelSolver(OtherPrompts(), fake_search.FakeEditor(), ChatRequest("fake", (), 80))
    with pytest.raises(IntegrityError, match="another request"):
        run(tmp_path, solver=solver)
    record = sorted((tmp_path / "calls").iterdir())[-1]
    record.write_bytes(record.read_bytes().replace(fake_search.SIGNATURE.encode(), b"another answer"))
    with pytest.raises(IntegrityError, match="missing or changed"):
        run(tmp_path)


def test_the_clock_needs_an_offset(tmp_path: Path) -> None:
    naive: Callable[[], str] = datetime(2026, 1, 1).isoformat
    with pytest.raises(IntegrityError, match="invalid time"):
        run(tmp_path, now=naive)

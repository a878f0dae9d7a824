"""Budgets: parsing, the check at worst case, and the sums of a journal."""

from __future__ import annotations

import math

import pytest
from fake_search import make_spec, outcome
from hypothesis import given
from hypothesis import strategies as st

from kit.agent.budget import (
    Amounts,
    Budget,
    BudgetLimit,
    Spent,
    check,
    parse_budget,
    require_prices,
    wall_left_s,
)
from kit.agent.events import (
    AttemptSummary,
    CallEnded,
    CallLost,
    CallStarted,
    EvaluationEnded,
    EvaluationLost,
    Event,
    NodeReserved,
    Resumed,
    RunStarted,
)
from kit.agent.llm.wire import CallFault, TokenUsage
from kit.agent.node import Action, ActionKind, EvaluationStatus
from kit.agent.spec import spec_sha256
from kit.agent.spent import fold_spent
from kit.core.digest import Sha256
from kit.core.errors import UsageError

SHA = Sha256("a" * 64)


def test_a_whole_budget() -> None:
    text = (
        "nodes=20,evaluations=25,usd=5.5,gpu-hours=20,tokens=2M,prompt-tokens=500k,completion-tokens=7,"
        "wall=10h,repairs=1"
    )
    assert parse_budget(text) == Budget(
        nodes=20,
        evaluations=25,
        gpu_seconds=72000.0,
        wall_s=36000.0,
        prompt_tokens=500_000,
        completion_tokens=7,
        tokens=2_000_000,
        usd=5.5,
        repairs_per_node=1,
    )
    assert parse_budget("") == Budget() and parse_budget("wall=90m").wall_s == 5400.0


@pytest.mark.parametrize(
    "text",
    ["nodes", "nodes=", "nodes=-1", "nodes=1.5", "nodes=1,nodes=2", "dollars=5", "usd=$5", "usd=nan",
     "usd=inf", "wall=10", "wall=1e9h", "tokens=1G", "gpu-hours=x", "nodes=" + "9" * 400,
     "tokens=999999999999999M", "evaluations=1000000000001k"],
)  # fmt: skip
def test_bad_budgets(text: str) -> None:
    with pytest.raises(UsageError) as e:
        parse_budget(text)
    assert e.value.hint and len(e.value.message) < 200


@pytest.mark.parametrize("limit", BudgetLimit)
def test_a_limit_stops_what_could_exceed_it_and_nothing_else(limit: BudgetLimit) -> None:
    field = "prompt_tokens" if limit is BudgetLimit.TOKENS else limit.value
    spent = Spent(Amounts(**{field: 4}), Amounts(**{field: 3}))
    assert check(Budget(**{limit.value: 10}), spent, Amounts(**{field: 3})) is None
    assert check(Budget(), spent, Amounts(**{field: 10**9})) is None
    stop = check(Budget(**{limit.value: 10}), spent, Amounts(**{field: 4}))
    assert stop is not None and (stop.limit, stop.spent, stop.worst, stop.allowed) == (limit, 7, 4, 10)
    assert str(stop).startswith(f"the budget's {limit} of 10 is spent: 7 used")


def test_a_used_up_wall_budget_stops_every_step() -> None:
    spent = Spent(Amounts(wall_s=10.0))
    assert check(Budget(wall_s=10.0), spent, Amounts()) is not None
    assert check(Budget(wall_s=10.5), spent, Amounts()) is None
    assert wall_left_s(Budget(wall_s=10.5), spent) == 0.5 and wall_left_s(Budget(wall_s=1.0), spent) == 0.0
    assert wall_left_s(Budget(), spent) == math.inf


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(0, 400))
def test_checked_steps_never_exceed_the_limit(steps: list[int], allowed: int) -> None:
    spent = Spent()
    for worst in steps:
        if check(Budget(tokens=allowed), spent, Amounts(prompt_tokens=worst)) is None:
            spent = Spent(spent.known + Amounts(prompt_tokens=worst))
    assert spent.charged.of(BudgetLimit.TOKENS) <= allowed


def test_usd_needs_prices() -> None:
    require_prices(Budget(tokens=5), known=False)
    require_prices(Budget(usd=5.0), known=True)
    with pytest.raises(UsageError, match="no prices"):
        require_prices(Budget(usd=5.0), known=False)


def sums(*events: Event, times: tuple[str, ...] = ()) -> Spent:
    at = times or ("2026-01-01T00:00:00+00:00",) * len(events)
    return fold_spent(zip(at, events, strict=True)).spent


STARTED = CallStarted(1, 1, SHA, 150, 80, 2.0)


def ended(
    usage: TokenUsage | None, *attempts: tuple[CallFault | None, TokenUsage | None], cost: float | None = None
) -> CallEnded:
    summaries = tuple(
        AttemptSummary(i, fault, 200, 0.0, 1.0, None, billed) for i, (fault, billed) in enumerate(attempts, 1)
    )
    return CallEnded(1, 1, SHA, None, usage, cost, 1.0, 0.0, summaries, "m", "m", "stop", None)


@pytest.mark.parametrize(
    ("event", "known", "unknown"),
    [
        (ended(TokenUsage(100, 50), (None, None), cost=0.5), (100, 50, 0.5), (0, 0, 0.0)),
        (ended(TokenUsage(100, 50), (None, None)), (100, 50, 0.0), (0, 0, 2.0)),
        (ended(TokenUsage(100, None), (None, None)), (100, 0, 0.0), (50, 80, 2.0)),
        (ended(TokenUsage(), (None, None)), (0, 0, 0.0), (150, 80, 2.0)),
        (ended(None, (CallFault.TIMEOUT, None)), (0, 0, 0.0), (150, 80, 2.0)),
        (ended(None, (CallFault.CANCELLED, None)), (0, 0, 0.0), (150, 80, 2.0)),
        (ended(None, (CallFault.RATE_LIMIT, None), cost=0.0), (0, 0, 0.0), (0, 0, 0.0)),
        (ended(None, (CallFault.CONNECTION, None), cost=0.0), (0, 0, 0.0), (0, 0, 0.0)),
        (ended(None, (CallFault.UNREACHABLE, None), cost=0.0), (0, 0, 0.0), (0, 0, 0.0)),
        (ended(None, cost=0.0), (0, 0, 0.0), (0, 0, 0.0)),
        (ended(TokenUsage(100, 50), (CallFault.LENGTH, None), cost=0.5), (100, 50, 0.5), (0, 0, 0.0)),
        (
            ended(TokenUsage(40, 20), (CallFault.CUT_STREAM, TokenUsage(10, 5)), (None, None), cost=0.1),
            (50, 25, 0.1),
            (0, 0, 0.0),
        ),
        (
            ended(TokenUsage(40, 20), (CallFault.TIMEOUT, None), (None, None), cost=0.1),
            (40, 20, 0.1),
            (110, 60, 1.9),
        ),
        (
            ended(TokenUsage(999, 999), (CallFault.TIMEOUT, None), (None, None), cost=9.0),
            (999, 999, 9.0),
            (0, 0, 0.0),
        ),
    ],
)  # fmt: skip
def test_what_is_not_reported_and_may_be_billed_is_charged_up_to_the_worst_case(
    event: CallEnded, known: tuple[int, int, float], unknown: tuple[int, int, float]
) -> None:
    spent = sums(STARTED, event)
    for amounts, expected in ((spent.known, known), (spent.unknown, unknown)):
        assert (amounts.prompt_tokens, amounts.completion_tokens) == expected[:2]
        assert amounts.usd == pytest.approx(expected[2])


def test_lost_calls_evaluations_and_nodes() -> None:
    control, draft = Action(ActionKind.CONTROL), Action(ActionKind.DRAFT)
    spent = sums(
        NodeReserved(1, control),
        NodeReserved(2, draft),
        STARTED,
        CallLost(1, 1, 150, 80, None),
        EvaluationLost(2, "run-1", 720.0, 90.0),
        EvaluationEnded(2, outcome("run-2", EvaluationStatus.MISSED, None)),
    )
    assert spent.known == Amounts(nodes=1, evaluations=1, gpu_seconds=480.0)
    assert spent.unknown == Amounts(
        evaluations=1, gpu_seconds=720.0, wall_s=90.0, prompt_tokens=150, completion_tokens=80
    )


def test_wall_time_counts_while_a_process_works_and_never_backwards() -> None:
    spec = make_spec()
    at = ("00:00:00", "00:00:10", "05:00:00", "05:00:05", "04:00:00", "04:00:02")
    spent = sums(
        RunStarted(spec, spec_sha256(spec)),
        NodeReserved(1, Action(ActionKind.DRAFT)),
        Resumed("", 0),
        STARTED,
        CallLost(1, 1, 1, 1, None),
        STARTED,
        times=tuple(f"2026-01-01T{t}+00:00" for t in at),
    )
    assert spent.known.wall_s == 17.0

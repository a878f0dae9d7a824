"""What calls cost, and the most that a run can spend."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_search import make_spec

from kit.agent.budget import Budget, parse_budget
from kit.agent.costs import ProfilePrices, require_context, worst_case
from kit.agent.llm.profile import EditFormat, ModelProfile, TokenParameter, TokenPrices
from kit.agent.llm.scripted import AnswerScript, ScriptedAnswer
from kit.agent.llm.wire import ChatRole, Message, TokenUsage
from kit.agent.policy import POLICIES
from kit.agent.spec import AgentSpec, EvaluationSettings
from kit.core.errors import UsageError

PRICES = TokenPrices(2.0, 10.0, "2026-11-01", "a page")
PROFILE = ModelProfile(
    "p", "m", "https://h/v1", TokenParameter.MAX_TOKENS, 1000, 50_000, EditFormat.BLOCKS, prices=PRICES
)
MESSAGES = (Message(ChatRole.USER, "x" * 3000),)
FULL = EvaluationSettings("full", "docker", "torch-2.5.1", 8, 3600.0, 1000.0, 20.0, 600.0)


def full(**changes: object) -> AgentSpec:
    return make_spec(evaluation=FULL, policy=POLICIES["aide"], controls=0, **changes)


def test_twenty_full_nodes_are_160_gpu_hours() -> None:
    worst = worst_case(full(), PROFILE, MESSAGES)
    assert worst.gpu_seconds / 3600 == 160.0
    assert (worst.nodes, worst.evaluations, worst.calls) == (20, 20, 80)
    assert worst.wall_s is None


def test_tokens_and_usd_are_those_of_all_calls_asked_twice() -> None:
    worst = worst_case(full(), PROFILE, MESSAGES)
    later = worst.context.later_prompt
    assert later == 1016 + 16_000
    assert worst.prompt_tokens == 160 * later and worst.completion_tokens == 160 * 1000
    assert worst.usd == pytest.approx((160 * later * 2.0 + 160 * 1000 * 10.0) / 1e6)
    assert worst_case(full(), replace(PROFILE, prices=None), MESSAGES).usd is None


def test_a_budget_lowers_the_most() -> None:
    budget = parse_budget("nodes=5,usd=0.25,gpu-hours=20,tokens=10k,wall=3h,evaluations=4,repairs=0")
    worst = worst_case(full(budget=budget), PROFILE, MESSAGES)
    assert (worst.nodes, worst.calls, worst.evaluations) == (5, 5, 4)
    assert (worst.usd, worst.gpu_seconds, worst.wall_s) == (0.25, 20 * 3600, 3 * 3600)
    assert worst.prompt_tokens == worst.completion_tokens == 10_000
    assert worst_case(full(budget=Budget(usd=7.0)), replace(PROFILE, prices=None), MESSAGES).usd == 7.0


def test_controls_and_the_winner_s_new_times_are_counted() -> None:
    worst = worst_case(replace(full(), controls=2), PROFILE, MESSAGES, retime=3)
    assert worst.evaluations == 22 and worst.retime_runs == 18
    assert worst.retime_gpu_seconds == 18 * 8 * 3600


def test_a_prompt_that_does_not_fit_is_refused() -> None:
    small = replace(PROFILE, context_tokens=2000)
    worst = worst_case(full(), small, MESSAGES)
    assert not worst.context.fits
    with pytest.raises(UsageError, match="does not fit into the model's context of 2,000"):
        require_context(worst.context)
    middle = worst_case(full(), replace(PROFILE, context_tokens=10_000), MESSAGES).context
    assert middle.fits and not middle.always_fits
    require_context(middle)


def test_the_worst_case_of_a_call_is_two_requests() -> None:
    usage, usd = ProfilePrices(PROFILE).worst(PROFILE.request(MESSAGES))
    assert usage == TokenUsage(2 * 1016, 2 * 1000)
    assert usd == pytest.approx((2032 * 2.0 + 2000 * 10.0) / 1e6)
    assert ProfilePrices(PROFILE).cost_usd(TokenUsage(10, 10)) == pytest.approx(120e-6)
    unknown = ProfilePrices(replace(PROFILE, prices=None))
    assert not unknown.known and unknown.cost_usd(TokenUsage(1, 1)) is None


def test_scripted_answers_cost_nothing() -> None:
    profile = AnswerScript((ScriptedAnswer("x"),)).profile()
    prices = ProfilePrices(profile)
    assert prices.known and prices.cost_usd(TokenUsage()) == 0.0
    assert prices.worst(profile.request(MESSAGES)) == (TokenUsage(0, 0), 0.0)
    worst = worst_case(full(), profile, MESSAGES)
    assert (worst.prompt_tokens, worst.completion_tokens, worst.usd) == (0, 0, 0.0)
    assert worst.wall_s == 20 * 3600

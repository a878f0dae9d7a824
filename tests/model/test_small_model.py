"""The client against a server and a model that others wrote: a real answer, counted and recorded."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from kit.agent.llm.client import LiveTransport
from kit.agent.llm.key import NO_KEY
from kit.agent.llm.profile import ModelProfile, prompt_bound
from kit.agent.llm.record import CallRecord, write_record
from kit.agent.llm.replay import ReplayTransport
from kit.agent.llm.retry import RetryLoop
from kit.agent.llm.wire import CallFault, CallKey, ChatRole, Message

pytestmark = pytest.mark.model
PLACE = CallKey(1, 1)
WALL_S = 1800.0


def live(profile: ModelProfile) -> LiveTransport:
    return LiveTransport(profile, NO_KEY, RetryLoop(random.Random(0)))


def test_a_real_answer_is_counted_recorded_and_replayed(small_model: ModelProfile, tmp_path: Path) -> None:
    request = small_model.request((Message(ChatRole.USER, "What is the capital of France?"),))
    outcome = live(small_model).call(request, PLACE, WALL_S, lambda: False)
    write_record(tmp_path, CallRecord(PLACE, request, outcome))
    assert outcome.fault is None and outcome.response is not None, outcome
    assert "Paris" in outcome.response.text
    assert outcome.response.finish_reason == "stop"
    assert outcome.response.answered_model == small_model.model
    prompt, completion = outcome.response.usage.prompt_tokens, outcome.response.usage.completion_tokens
    system_prompt = 32  # its chat template adds one
    assert prompt is not None and 10 <= prompt <= prompt_bound(request) + system_prompt
    assert completion is not None and 1 <= completion <= small_model.max_output_tokens
    assert outcome.response.usage.cached_tokens is None
    assert ReplayTransport(tmp_path).call(request, PLACE, 0.0, lambda: False) == outcome


def test_an_answer_is_cut_at_the_limit_of_tokens(small_model: ModelProfile) -> None:
    short = replace(small_model, max_output_tokens=4)
    request = short.request((Message(ChatRole.USER, "Write a Python function that squares a number."),))
    outcome = live(short).call(request, PLACE, WALL_S, lambda: False)
    assert outcome.fault is CallFault.LENGTH and outcome.response is not None, outcome
    assert outcome.response.usage.completion_tokens == 4

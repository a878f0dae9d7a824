"""A whole search with a small real model: its edits are bad, and every node and call is recorded."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from leak_scan import scan, script_text, sentinels

from kit.agent.budget import Budget
from kit.agent.events import CallEnded, CallStarted, EndReason, NodeEnded, NodeReserved
from kit.agent.journal import JOURNAL, read_journal
from kit.agent.llm.client import LiveTransport
from kit.agent.llm.key import NO_KEY
from kit.agent.llm.profile import ModelProfile
from kit.agent.llm.retry import RetryLoop
from kit.agent.node import NodeStatus
from kit.agent.own_task import default_places
from kit.agent.policy import POLICIES, SearchFidelity
from kit.agent.replayed import replay
from kit.agent.session import RunHooks, RunRequest, new_run
from kit.core.facts import facts_root
from kit.evaluate.request import Request
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName

pytestmark = pytest.mark.model
TASK = "smoke-3"
NODES = 3
CONTEXT = 8192
"""The model's own."""


def test_a_search_with_a_small_model_records_every_node(small_model: ModelProfile, tmp_path: Path) -> None:
    profile = replace(small_model, context_tokens=CONTEXT, max_output_tokens=32)
    request = RunRequest(
        evaluation=Request(TASK, Profile.SMOKE, runtime=RuntimeName.RUNC),
        hints=(),
        policy=replace(POLICIES["flat"], initial=NODES, max_nodes=NODES),
        fidelity=SearchFidelity.PAPER,
        controls=0,
        seed=0,
        budget=Budget(repairs_per_node=0),
        model=profile,
    )
    places = default_places(tmp_path, keys=tmp_path / "keys")
    run = new_run(facts_root(), request, places, tmp_path / "agent-runs")
    end = run.run(LiveTransport(profile, NO_KEY, RetryLoop(random.Random(0))), RunHooks())

    assert end.tree.ended is not None and end.tree.ended.reason is EndReason.COMPLETE
    assert [node.id for node in end.tree.nodes] == [1, 2, 3]
    broken = (NodeStatus.INFRA_FAILED, NodeStatus.LOST, NodeStatus.STOPPED, None)
    assert not [node for node in end.tree.nodes if node.status in broken]

    events = read_journal(run.folder / JOURNAL, end.head).events
    calls = [e for e in events if isinstance(e, CallEnded)]
    assert len(calls) == sum(isinstance(e, CallStarted) for e in events) >= NODES
    assert sum(isinstance(e, NodeEnded) for e in events) == NODES
    assert sum(isinstance(e, NodeReserved) for e in events) == NODES
    for call in calls:
        assert call.usage is not None and call.answered_model == profile.model, call
        assert (call.usage.prompt_tokens or 0) > 1000 and 1 <= (call.usage.completion_tokens or 0) <= 32, call
    assert end.spent.unknown.prompt_tokens == 0, "all usage was reported"
    assert end.spent.known.prompt_tokens == sum(c.usage.prompt_tokens or 0 for c in calls if c.usage)

    allowed = "\n".join((run.task.text, script_text(TASK)))
    paths = (tmp_path, places.store.root)
    sought = sentinels(TASK, (), script_text("smoke-4"), allowed, paths=paths)
    assert [leak for leak in scan(run.folder, sought) if leak.sentinel.text not in profile.model] == []
    assert replay(run, tmp_path / "again") == end.head

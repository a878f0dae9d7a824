"""A search that is killed at any point and resumed is the search that was not killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import fake_search
import pytest
from fake_search import comparable, node_bytes, run

from kit.agent.events import CallEnded, CallLost, EvaluationLost, NodeEnded
from kit.agent.journal import JOURNAL, read_journal
from kit.agent.node import NodeStatus


def test_a_kill_at_a_line_a_call_or_an_evaluation_changes_neither_tree_nor_files_nor_known_sums(
    tmp_path: Path,
) -> None:
    """A sample; tests/integration/test_agent_kills.py tries all."""
    fake_search.compare_killed(tmp_path, range(5, fake_search.TICKS, 17))


def test_the_undisturbed_search_has_every_kind_of_node(tmp_path: Path) -> None:
    end = run(tmp_path)
    statuses = {node.status for node in end.tree.nodes}
    assert statuses >= {
        NodeStatus.VALID_IMPROVED,
        NodeStatus.VALID_NOT_IMPROVED,
        NodeStatus.BUGGY_CRASH,
        NodeStatus.BUGGY_LOSS,
        NodeStatus.REFUSED_BY_MODEL,
        NodeStatus.INFRA_FAILED,
    }
    assert any(e.call > 1 for e in read_journal(tmp_path / JOURNAL).events if isinstance(e, CallEnded))
    assert len(end.tree.searched) == 20 and len(end.tree.nodes) == 21


def test_a_journal_cut_after_a_line_gives_the_same_search_and_pays_for_no_recorded_call_again(
    tmp_path: Path,
) -> None:
    """A sample; tests/integration/test_agent_kills.py tries all."""
    fake_search.compare_cut(tmp_path, range(9, fake_search.LINES, 40))


@pytest.mark.parametrize("tick", [1, 17, 80, 165])
def test_kill_9_of_the_process(tmp_path: Path, tick: int) -> None:
    command = [sys.executable, fake_search.__file__, str(tmp_path / "killed"), str(tick)]
    paths = f"{Path(fake_search.__file__).parents[2]}:{Path(fake_search.__file__).parent}"
    done = subprocess.run(command, env={"PYTHONPATH": paths}, capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    end, whole = run(tmp_path / "killed"), run(tmp_path / "whole")
    assert comparable(end) == comparable(whole)
    assert node_bytes(tmp_path / "killed") == node_bytes(tmp_path / "whole")


def test_a_lost_call_is_charged_at_its_worst_case_and_asked_again_under_its_number(tmp_path: Path) -> None:
    class Dies(fake_search.FakeTransport):
        def call(self, request, key, wall_left_s, cancelled):  # type: ignore[no-untyped-def]
            raise fake_search.Killed

    with pytest.raises(fake_search.Killed):
        run(tmp_path, transport=Dies())
    transport = fake_search.FakeTransport()
    end = run(tmp_path, transport=transport)
    lost = [e for e in read_journal(tmp_path / JOURNAL).events if isinstance(e, CallLost)]
    assert lost == [
        CallLost(2, 1, fake_search.WORST_PROMPT, fake_search.WORST_COMPLETION, lost[0].usd),
    ]
    assert lost[0].usd == pytest.approx(0.23)
    assert transport.asked[0] == fake_search.CallKey(2, 1)
    assert end.spent.unknown.prompt_tokens >= fake_search.WORST_PROMPT


def test_an_evaluation_is_repeated_three_times_and_then_its_node_is_lost(tmp_path: Path) -> None:
    class Dies(fake_search.FakeEvaluator):
        def evaluate(self, submission, reserved, cancelled):  # type: ignore[no-untyped-def]
            reserved(f"run-{len(self.evaluated)}")
            raise fake_search.Killed

    for _ in range(4):
        with pytest.raises(fake_search.Killed):
            run(tmp_path, evaluator=Dies(tmp_path / "bundles"))
    end = run(tmp_path)
    events = read_journal(tmp_path / JOURNAL).events
    assert sum(isinstance(e, EvaluationLost) for e in events) == 4
    assert end.tree.node(1).status is NodeStatus.LOST
    assert end.spent.unknown.evaluations == 4
    assert end.spent.unknown.gpu_seconds == 4 * fake_search.WORST_EVALUATION_S * fake_search.GPUS


def test_a_finished_bundle_of_a_killed_process_is_used(tmp_path: Path) -> None:
    class Dies(fake_search.FakeEvaluator):
        def evaluate(self, submission, reserved, cancelled):  # type: ignore[no-untyped-def]
            super().evaluate(submission, reserved, cancelled)
            raise fake_search.Killed

    with pytest.raises(fake_search.Killed):
        run(tmp_path, evaluator=Dies(tmp_path / "bundles"))
    evaluator = fake_search.FakeEvaluator(tmp_path / "bundles")
    run(tmp_path, evaluator=evaluator)
    assert "001-2" not in evaluator.evaluated
    ended = [e for e in read_journal(tmp_path / JOURNAL).events if isinstance(e, NodeEnded)]
    assert ended[0].status is NodeStatus.VALID_NOT_IMPROVED

"""
Agents with real evaluations: the example of the guide, a hostile guest in a search, and its requests.

Nothing here depends on how fast the machine is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from hostile_guest import FALSE_CLAIM, LINES, outside_marks, prints
from leak_scan import scan, script_text, sentinels
from python_file import load_file

from kit.agent import api
from kit.agent.budget import Budget
from kit.agent.calls import CALLS
from kit.agent.evaluation import KitEvaluator
from kit.agent.journal import JOURNAL
from kit.agent.llm.record import read_record
from kit.agent.llm.scripted import AnswerScript, ScriptedAnswer, ScriptedTransport
from kit.agent.node import EvaluationStatus, NodeStatus
from kit.agent.own_task import default_places
from kit.agent.policy import Policy, SearchFidelity
from kit.agent.replayed import replay
from kit.agent.session import RunHooks, RunRequest, new_run
from kit.agent.verify import verify_run
from kit.core.facts import facts_root
from kit.evaluate.request import Overrides, Request
from kit.result.keys import Trusted, load_or_create
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName

pytestmark = [pytest.mark.container, pytest.mark.network]
EXAMPLE = Path(__file__).parents[2] / "docs" / "guides" / "example_agent.py"
TASK = "smoke-3"
STOP = '    raise SystemExit("the end" if os.environ["RANK"] == "0" else time.sleep(3600))'
"""Rank 1 waits until torchrun ends it: if it exited first, torchrun could end rank 0 before it prints."""
MENDED = f"train_gpt2.py\n<<<<<<< SEARCH\n{STOP}\n=======\n    pass\n>>>>>>> REPLACE\n"
PATIENT = Overrides(start_s=900, warmup_s=900, stall_s=900, teardown_s=300, total_s=3000)
"""Deadlines for a machine that other programs keep busy."""
SEED = 2
"""With it, the second decision debugs node 2."""
SEARCH = "<<<<<<< SEARCH"
"""The prompt's own description of the format has this line."""
EDIT = """train_gpt2.py
<<<<<<< SEARCH
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
=======
{code}
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
>>>>>>> REPLACE
"""


def edit(*lines: str, then: str = "") -> str:
    code = prints(*lines).replace("\n", "\n    ").rstrip(" ")
    return EDIT.format(code=f"    {code}{then}".rstrip("\n"))


def example() -> ModuleType:
    return load_file("example_agent", EXAMPLE)


def test_the_example_agent_of_the_guide_runs_for_real(cpu_image: None, tmp_path: Path) -> None:
    task = api.load_task(TASK, (1,), "runc", keys=tmp_path / "keys")
    assert isinstance(task.evaluator, KitEvaluator)
    request = replace(task.evaluator.request, overrides=PATIENT)
    task = replace(task, evaluator=replace(task.evaluator, request=request))
    tree = example().run(tmp_path / "run", task)
    first, second = tree.nodes
    assert first.status is NodeStatus.BUGGY_CRASH, first
    assert second.status is not None and second.status.valid, second
    assert second.evaluation is not None and second.evaluation.status is EvaluationStatus.REACHED
    assert len(list((tmp_path / "run" / "bundles").glob("r*/result.json"))) == 2
    check = verify_run(tmp_path / "run", Trusted((load_or_create(tmp_path / "keys").public,)))
    assert (check.faults, check.unnamed, check.trusted) == ((), (), True)
    with api.open_run(tmp_path / "run", task, "example 1", api.parse_budget("evaluations=2")) as again:
        assert again.tree == tree


def test_a_hostile_guest_changes_no_score_and_stays_inside_the_marks(cpu_image: None, tmp_path: Path) -> None:
    answers = (
        ScriptedAnswer(edit(FALSE_CLAIM, then=STOP), node=1),
        ScriptedAnswer(edit(*LINES, then=STOP), node=2),
        ScriptedAnswer(MENDED, node=3),
    )
    script = AnswerScript(answers)
    request = RunRequest(
        evaluation=Request(TASK, Profile.SMOKE, runtime=RuntimeName.RUNC, overrides=PATIENT),
        hints=(1,),
        policy=Policy("two drafts, then debug", 2, 1, 1.0, 5, 3),
        fidelity=SearchFidelity.PAPER,
        controls=0,
        seed=SEED,
        budget=Budget(),
        model=script.profile(),
        script=script,
    )
    places = default_places(tmp_path, keys=tmp_path / "keys")
    run = new_run(facts_root(), request, places, tmp_path / "agent-runs")
    end = run.run(ScriptedTransport(script, TASK), RunHooks())

    false, crashed, debugged = end.tree.nodes
    assert false.status is NodeStatus.AUDIT_FAILED and false.evaluation is not None, false
    assert crashed.status is NodeStatus.BUGGY_CRASH and crashed.evaluation is not None, crashed
    assert (false.evaluation.time_ms, false.evaluation.fsr) == (None, None)
    assert (crashed.evaluation.time_ms, crashed.evaluation.fsr) == (None, None)
    assert debugged.action.parent == crashed.id
    prompt = read_record(run.folder / CALLS / "003-01.json").request.messages[1].content
    assert "RuntimeError: the kit has a fault" in prompt
    outside = outside_marks(prompt)
    assert not any(line in outside for line in LINES if line != SEARCH), outside

    assert debugged.evaluation is not None and debugged.evaluation.status is EvaluationStatus.REACHED
    assert debugged.evaluation.time_ms is not None and debugged.evaluation.time_ms > 100
    allowed = "\n".join((run.task.text, script_text(TASK), *(hint.text for hint in run.task.hints)))
    sought = sentinels(TASK, (1,), script_text("smoke-4"), allowed, paths=(tmp_path, places.store.root))
    assert scan(run.folder, sought) == []

    head = replay(run, tmp_path / "again")
    assert head == end.head
    assert (tmp_path / "again" / JOURNAL).read_bytes() == (run.folder / JOURNAL).read_bytes()

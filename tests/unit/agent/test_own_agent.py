"""One's own agent and scaffold through `kit.agent.api`: nodes, budgets, kills, the example of the guide."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from fake_search import Killed, Ticks, outcome, raise_killed
from own_agent import own_task
from python_file import load_file

from kit.agent import api
from kit.agent.events import EndReason, RunEnded
from kit.agent.journal import JOURNAL, read_journal
from kit.agent.node import Action, ActionKind, EvaluationOutcome, EvaluationStatus, NodeStatus
from kit.agent.scaffold import checked_actions, own_policy
from kit.agent.spec import read_spec
from kit.agent.summary import SUMMARY, read_summary
from kit.agent.tree import START, Tree
from kit.agent.verify import verify_run
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.result.keys import Trusted, load_or_create

EXAMPLE = Path(__file__).parents[3] / "docs" / "guides" / "example_agent.py"


def script(*words: str) -> dict[str, bytes]:
    return {"train_gpt2.py": "\n".join(f"# {word}" for word in words).encode()}


def test_a_folder_is_evaluated_as_a_node_of_a_journaled_run(tmp_path: Path) -> None:
    submission = tmp_path / "mine"
    (submission / ".git").mkdir(parents=True)
    (submission / ".git" / "HEAD").write_text("ref")
    (submission / "train_gpt2.py").write_text("# fast\n")
    with api.open_run(tmp_path / "run", own_task(tmp_path), "me 2.0") as run:
        node = run.evaluate(submission)
        assert (node.status, node.action) == (NodeStatus.VALID_IMPROVED, Action(ActionKind.DRAFT, START))
        assert node.evaluation is not None and node.evaluation.time_ms == 900.0
        assert run.files(node.id) == {"train_gpt2.py": b"# fast\n"}
        assert "Training time: 0.90 s" in run.feedback(node)
        run.end()
        with pytest.raises(UsageError, match="has ended"):
            run.evaluate(submission)
    events = read_journal(tmp_path / "run" / JOURNAL).events
    assert events[-1] == RunEnded(EndReason.COMPLETE, 1)
    assert read_spec(tmp_path / "run" / "spec.json").model.name == "me 2.0"
    assert (tmp_path / "run/nodes/001/diff.patch").read_text().startswith("--- a/train_gpt2.py")


def test_children_improve_valid_nodes_and_debug_buggy_ones(tmp_path: Path) -> None:
    with api.open_run(tmp_path / "run", own_task(tmp_path)) as run:
        first = run.evaluate(script("fast"))
        broken = run.evaluate(script("fast", "crash"), first.id)
        mended = run.evaluate(script("fast", "fast"), broken.id)
        assert [n.action.kind for n in (first, broken, mended)] == ["draft", "improve", "debug"]
        assert [n.status for n in (first, broken, mended)] == [
            "valid_improved", "buggy_crash", "valid_improved",
        ]  # fmt: skip
        assert run.tree.best() == mended.id
        with pytest.raises(UsageError, match="node 9 has no script"):
            run.evaluate(script("fast"), 9)
        assert len(run.tree.nodes) == 3


def test_a_submission_with_faults_is_a_node_and_is_not_evaluated(tmp_path: Path) -> None:
    task = replace(own_task(tmp_path), check=lambda folder: (f"cuda: {len(list(folder.iterdir()))} file",))
    with api.open_run(tmp_path / "run", task) as run:
        node = run.evaluate(script("fast"))
        assert (node.status, node.reason, node.evaluation) == (NodeStatus.EDIT_FAILED, "cuda: 1 file", None)
        assert run.feedback(node) == "The script was not evaluated: cuda: 1 file"
    assert not (tmp_path / "bundles").exists()


@pytest.mark.parametrize("name", [".hidden.py", "venv/a.py", "torch.pyc", "train_gpt2.py/a.py"])
def test_a_file_that_no_run_gets_is_refused(tmp_path: Path, name: str) -> None:
    """The node would have other files than the submission that was evaluated."""
    files = {**script("fast"), name: b"x = 1"}
    with api.open_run(tmp_path / "run", own_task(tmp_path)) as run:
        with pytest.raises(UsageError, match=r"leaves out|a file and a directory"):
            run.evaluate(files)
        assert run.tree.nodes == ()
    with pytest.raises(UsageError, match="the edit function returned"):
        api.run_search(tmp_path / "search", own_task(tmp_path), lambda work: files, max_nodes=1)


def test_a_run_that_ended_has_a_signed_summary(tmp_path: Path) -> None:
    task = replace(own_task(tmp_path), keys=tmp_path / "keys")
    trusted = Trusted((load_or_create(tmp_path / "keys").public,))
    with api.open_run(tmp_path / "run", task) as run:
        run.evaluate(script("fast"))
        run.evaluate(script("crash"), 1)
        run.end()
    api.run_search(tmp_path / "search", task, edit, greedy, max_nodes=2)
    for name in ("run", "search"):
        signed = read_summary(tmp_path / name / SUMMARY, trusted)
        assert [node.status for node in signed.summary.nodes] == ["valid_improved", "buggy_crash"]
        told = [f for f in verify_run(tmp_path / name, trusted).faults if "bundle" not in f]
        assert told == [], "the fake evaluator writes no bundles; all else is verified"


def test_a_control_node_evaluates_the_unchanged_start_script(tmp_path: Path) -> None:
    with api.open_run(tmp_path / "run", own_task(tmp_path)) as run:
        control = run.control()
        assert (control.action.kind, control.status) == (ActionKind.CONTROL, NodeStatus.VALID_NOT_IMPROVED)
        assert run.files(control.id) == run.files(START)
        assert run.tree.searched == () and run.tree.best() == START
        assert run.evaluate(script("fast")).id == 2


def test_a_budget_ends_the_run_before_the_evaluation(tmp_path: Path) -> None:
    task = own_task(tmp_path)
    with api.open_run(tmp_path / "run", task, budget=api.parse_budget("evaluations=1")) as run:
        run.evaluate(script("fast"))
        with pytest.raises(api.BudgetSpent):
            run.evaluate(script("fast", "fast"))
        assert run.tree.ended == RunEnded(EndReason.BUDGET, 1)
    assert len(list((tmp_path / "bundles").iterdir())) == 1


def test_a_run_that_was_killed_at_any_line_finishes_its_node(tmp_path: Path) -> None:
    """The ticks are those of the evaluations; each kill leaves a node open."""
    for at in range(2):
        folder = tmp_path / str(at)
        task = own_task(folder, ticks=Ticks(at, raise_killed))
        with pytest.raises(Killed), api.open_run(folder / "run", task) as run:
            run.evaluate(script("fast"))
            run.evaluate(script("fast", "fast"), 1)
        with api.open_run(folder / "run", own_task(folder)) as run:
            assert [n.status for n in run.tree.nodes] == [NodeStatus.VALID_IMPROVED] * (at + 1)
            assert run.files(at + 1) == script(*["fast"] * (at + 1))


def test_a_run_is_cut_after_every_line_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with api.open_run(folder, own_task(tmp_path)) as run:
        run.evaluate(script("fast"))
        whole = run.tree.nodes[0]
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    assert len(lines) == 7  # started, decided twice, reserved, evaluation reserved and ended, node ended
    for kept in range(3, len(lines)):
        (folder / JOURNAL).write_bytes(b"".join(lines[:kept]))
        with api.open_run(folder, own_task(tmp_path)) as run:
            (node,) = run.tree.nodes
            assert (node.status, node.submission_sha256) == (whole.status, whole.submission_sha256), kept


def greedy(tree: Tree, rng: random.Random) -> list[Action]:
    """Ask for one node at a time: correct the last one if it failed, else improve the best."""
    last = tree.searched[-1] if tree.searched else None
    if last is not None and last.status is not None and last.status.buggy:
        return [Action(ActionKind.DEBUG, last.id)]
    best = tree.best()
    return [Action(ActionKind.DRAFT if best == START else ActionKind.IMPROVE, best)]


def edit(work: api.NodeWork) -> api.Files:
    if work.node.action.kind is ActionKind.DEBUG:
        assert work.feedback.startswith("The script crashed.")
        return {"train_gpt2.py": work.files["train_gpt2.py"].replace(b"crash", b"fast")}
    word = b"crash" if work.node.id == 2 else b"fast"
    return {"train_gpt2.py": work.files["train_gpt2.py"] + b"# " + word + b"\n"}


def test_a_scaffold_is_one_function(tmp_path: Path) -> None:
    end = api.run_search(tmp_path / "run", own_task(tmp_path), edit, greedy, max_nodes=4)
    assert [(n.action.kind, n.action.parent, n.status) for n in end.tree.nodes] == [
        ("draft", 0, "valid_improved"),
        ("improve", 1, "buggy_crash"),
        ("debug", 2, "valid_improved"),
        ("improve", 3, "valid_improved"),
    ]
    assert end.tree.ended == RunEnded(EndReason.COMPLETE, 4)
    assert read_spec(tmp_path / "run" / "spec.json").policy.name.startswith("greedy@")


def test_a_search_takes_the_scaffolds_of_the_paper_too(tmp_path: Path) -> None:
    end = api.run_search(tmp_path / "run", own_task(tmp_path), edit, api.POLICIES["tree"], max_nodes=4)
    assert [n.action.parent for n in end.tree.nodes] == [0, 1, 1, 1]


def test_a_killed_search_makes_no_edit_twice(tmp_path: Path) -> None:
    edits: list[int] = []

    def counted(work: api.NodeWork) -> api.Files:
        edits.append(work.node.id)
        return edit(work)

    task = own_task(tmp_path, ticks=Ticks(1, raise_killed))
    with pytest.raises(Killed):
        api.run_search(tmp_path / "run", task, counted, greedy, max_nodes=3)
    end = api.run_search(tmp_path / "run", own_task(tmp_path), counted, greedy, max_nodes=3)
    assert edits == [1, 2, 3] and len(end.tree.nodes) == 3


def test_another_scaffold_does_not_resume_the_run(tmp_path: Path) -> None:
    def other(tree: Tree, rng: random.Random) -> list[Action]:
        return []

    api.run_search(tmp_path / "run", own_task(tmp_path), edit, greedy, max_nodes=1)
    with pytest.raises(UsageError, match=r"differ: policy\.name"):
        api.run_search(tmp_path / "run", own_task(tmp_path), edit, other, max_nodes=1)


@pytest.mark.parametrize(
    ("action", "message"),
    [(Action(ActionKind.CONTROL), "control node"), (Action(ActionKind.IMPROVE, 3), "child of node 3")],
)
def test_an_impossible_answer_of_a_scaffold_is_refused(action: Action, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        checked_actions(Tree(), [action], 20)


def test_the_last_batch_of_a_scaffold_is_cut() -> None:
    assert len(checked_actions(Tree(), [Action(ActionKind.DRAFT)] * 9, 5)) == 5
    assert own_policy(print, 5).name == "print"


@pytest.fixture
def example() -> ModuleType:
    return load_file("example_agent", EXAMPLE)


def test_the_example_of_the_guide_corrects_its_crash(
    tmp_path: Path, example: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def judge(run_id: str, content: str) -> EvaluationOutcome:
        if "q @ k /" in content:
            return outcome(run_id, EvaluationStatus.CRASHED, None)
        return outcome(run_id, EvaluationStatus.REACHED, 700.0 if "q @ k.mT" in content else 1000.0)

    start = (facts_root() / "records" / "smoke" / "3" / "train_gpt2.py").read_bytes()
    run: Callable[[Path, api.OwnTask], Tree] = example.run
    tree = run(tmp_path / "run", own_task(tmp_path, judge, start))
    assert [n.status for n in tree.nodes] == ["buggy_crash", "valid_improved"] and tree.best() == 2
    assert capsys.readouterr().out.startswith("node 1: buggy_crash: ")
    assert len(EXAMPLE.read_text().splitlines()) <= 65

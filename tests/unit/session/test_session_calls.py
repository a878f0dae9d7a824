"""Calls of a session: each is a line, is refused or done, and is charged by the host's clock."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_search import Ticks
from fake_session import GPUS, START, FakeTrials, begin, fake_parts, opened, write_script

from kit.agent.budget import parse_budget
from kit.agent.events import BudgetStopped, Decided, RunEnded
from kit.agent.journal import JOURNAL, MAX_JOURNAL, read_journal
from kit.agent.node import Action, ActionKind, NodeStatus
from kit.agent.recorded import read_run
from kit.agent.tool_events import CallRefused, ToolCalled, TryEnded, TryStatus
from kit.cli import run
from kit.core.errors import IntegrityError, PrerequisiteError, UsageError
from kit.evaluate.request import Overrides
from kit.result.keys import Trusted
from kit.session.opening import open_session, session_spec
from kit.session.session import FULL, MAX_WAITING, _hint_of
from kit.session.tools import TOOLS
from kit.session.verify import verify_session


def called(folder: Path) -> list[ToolCalled]:
    return [e for e in read_journal(folder / JOURNAL).events if isinstance(e, ToolCalled)]


def test_the_whole_way_from_the_start_to_a_winner(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    with opened(folder) as session:
        brief = session.call("brief", {}, "t").text
        assert brief.index("this text holds") < brief.index("Make it faster.")
        assert session.call("list", {}, "t").values["files"] == [
            {"path": "train_gpt2.py", "bytes": len(START)}
        ]
        assert session.call("read", {"path": "train_gpt2.py"}, "t").values["text"] == START.decode()
        write_script(session, "# fast\n")
        assert session.call("check", {}, "t").values == {"faults": [], "warnings": ["a warning"]}
        tried = session.call("try", {"steps": 5, "gpus": 2}, "t").values
        assert (tried["status"], tried["step"], tried["step_ms"], tried["gpu_seconds"]) == (
            "bound",
            5,
            12.5,
            4.0,
        )
        assert "# fast" in tried["log"] and "recovered" not in tried
        done = session.call("evaluate", {}, "t").values
        assert (done["status"], done["time_ms"], done["recovered"]) == ("valid_improved", 900.0, 0.25)
        assert done["val_loss"] == session.ledger.tree.node(1).evaluation.val_loss is not None
        write_script(session, "# fast fast\n")
        assert session.call("evaluate", {"parent": 1}, "t").values["evaluation"] == 2
        history = session.call("history", {}, "t")
        assert (history.values["fastest"], len(history.values["tries"])) == (2, 1)
        assert session.call("history", {"evaluation": 1}, "t").values["time_ms"] == 900.0
        assert session.call("history", {"trial": 1}, "t").values["log"] == tried["log"]
        charged = session.call("budget", {}, "t").values["charged"]
        assert charged["gpu_hours"] == pytest.approx((4.0 + 2 * 10 * GPUS) / 3600)
    tools = [e.tool for e in called(folder)]
    assert tools == ["brief", "list", "read", "write", "check", "try", "evaluate", "write", "evaluate",
                     "history", "history", "history", "budget"]  # fmt: skip
    assert [e.call for e in called(folder)] == list(range(1, 14))
    assert read_run(folder).spent.known.gpu_seconds == pytest.approx(4.0 + 2 * 10 * GPUS)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("shell", {}, "there is no tool"),
    ("brief", {"verbose": True}, "it takes no arguments"),
    ("list", {"path": "/"}, "it takes no arguments"),
    ("read", {}, "needs the argument path"),
    ("read", {"path": 7}, "must be a text"),
    ("read", {"path": "none.py"}, "does not exist"),
    ("read", {"path": "train_gpt2.py", "start": -1}, "from 0"),
    ("read", {"path": "train_gpt2.py", "start": 10**400}, "a whole number"),
    ("read", {"path": "../spec.json"}, "invalid file name"),
    ("read", {"path": "/etc/passwd"}, "invalid file name"),
    ("read", {"path": "a\x00b"}, "invalid file name"),
    ("read", {"path": "a\u202eb.py"}, "invalid file name"),
    ("write", {"path": "x.py"}, "needs the argument content"),
    ("write", {"path": "x.py", "content": ["a"]}, "must be a text"),
    ("write", {"path": "x.py", "content": "\ud800"}, "lone surrogates"),
    ("write", {"path": "x.py", "content": "x" * (9 << 20)}, "characters; the most is"),
    ("write", {"path": "x.py", "content": "\u20ac" * 400_000}, "larger than 1 MiB"),
    ("write", {"path": ".git/config", "content": ""}, "invalid file name"),
    ("write", {"path": "a/b/c/d/e.py", "content": ""}, "levels deep"),
    ("write", {"path": "venv/x.py", "content": ""}, "would not be part"),
    ("write", {"path": "x\n.py", "content": ""}, "invalid file name"),
    ("write", {"path": "train_gpt2.py/x.py", "content": ""}, "is not a directory"),
    ("delete", {"path": "a/../train_gpt2.py"}, "invalid file name"),
    ("delete", {"path": "none.py"}, "does not exist"),
    ("check", {"deep": True}, "it takes no arguments"),
    ("try", {"steps": 0}, "from 1"),
    ("try", {"steps": 1.5}, "a whole number"),
    ("try", {"seconds": float("nan")}, "must be a number"),
    ("try", {"seconds": "60"}, "must be a number"),
    ("try", {"gpus": 3}, "gpus must be"),
    ("try", {"gpus": True}, "a whole number"),
    ("evaluate", {"parent": 1}, "there is no evaluation 1"),
    ("evaluate", {"submission": "/"}, "it takes parent"),
    ("history", {"evaluation": 4}, "no evaluation 4"),
    ("history", {"trial": 4}, "no try 4"),
    ("budget", {"more": 1}, "it takes no arguments"),
]


def test_bad_input_of_every_tool_is_refused_and_costs_nothing(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    assert {tool for tool, _, _ in BAD} >= set(TOOLS)
    with opened(folder) as session:
        for tool, arguments, why in BAD:
            answer = session.call(tool, arguments, "x\x1b[2J" * 90)
            assert answer.is_error and why in answer.text, (tool, arguments, answer.text)
        files = session.call("list", {}, "t").values["files"]
    assert [f["path"] for f in files] == ["train_gpt2.py"]
    run = read_run(folder)
    assert run.spent.charged.gpu_seconds == 0 and run.tree.nodes == ()
    assert all(e.client.isprintable() and len(e.client) <= 100 for e in called(folder))
    assert len(called(folder)) == len(BAD) + 1


def test_a_workspace_with_links_is_not_followed(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    (folder / "workspace" / "out").symlink_to(tmp_path)
    (folder / "workspace" / "key.py").symlink_to("/etc/passwd")
    with opened(folder) as session:
        for tool, path in (("read", "key.py"), ("read", "out/x.py"), ("delete", "key.py")):
            assert session.call(tool, {"path": path}, "t").is_error
        assert session.call("write", {"path": "out/x.py", "content": "1"}, "t").is_error
        for tool in ("check", "try", "evaluate"):
            assert "symbolic link" in session.call(tool, {}, "t").text
    assert not (tmp_path / "x.py").exists()


def test_a_call_that_the_budget_cannot_hold_is_refused_and_the_session_goes_on(tmp_path: Path) -> None:
    folder = begin(tmp_path, "gpu-hours=0.21,wall=1h")  # 756 GPU-seconds; an evaluation may need 720
    with opened(folder) as session:
        refused = session.call("try", {"seconds": 100}, "t")
        assert refused.is_error and "can take 0.223 GPU-hours" in refused.text
        assert not (folder / "tries").exists(), "a refused try leaves no files"
        assert session.call("try", {"seconds": 4000, "gpus": 1}, "t").is_error
        assert not session.call("try", {"seconds": 100, "gpus": 1}, "t").is_error
        assert session.call("evaluate", {}, "t").values["valid"]
        assert session.call("evaluate", {}, "t").is_error
        assert not session.call("try", {"seconds": 5}, "t").is_error
    events = read_journal(folder / JOURNAL).events
    assert [e.limit for e in events if isinstance(e, CallRefused)] == [
        "gpu_seconds",
        "gpu_seconds",
        "gpu_seconds",
    ]
    assert not any(isinstance(e, BudgetStopped | RunEnded) for e in events)


class Jumps:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> str:
        return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.at)).isoformat()


def test_a_try_ends_when_the_budget_of_wall_time_ends(tmp_path: Path) -> None:
    clock = Jumps()
    folder = begin(tmp_path, "wall=1000s")

    class Late(FakeTrials):
        def run(self, *arguments: Any) -> Any:
            clock.at += 2000.0  # the image took its time
            return super().run(*arguments)

    with opened(folder, trials=Late(), now=clock) as session:
        write_script(session, "# wait\n")
        tried = session.call("try", {"seconds": 900}, "t").values
        assert (tried["status"], tried["reason"]) == ("budget", "the budget of wall time ended")
        assert session.call("try", {"seconds": 1}, "t").is_error
        assert session.call("evaluate", {}, "t").is_error


def test_a_try_of_a_server_that_stops_is_charged_what_it_took(tmp_path: Path) -> None:
    folder, trials = begin(tmp_path), FakeTrials()
    with opened(folder, trials=trials) as session:
        write_script(session, "# wait\n")
        trials.ticks = Ticks(0, session.stop)  # once the guest runs
        tried = session.call("try", {"gpus": 1}, "t").values
        assert (tried["status"], tried["gpu_seconds"]) == ("cancelled", 2.0)
        assert session.call("try", {"gpus": 1}, "t").is_error
    ended = [e for e in read_journal(folder / JOURNAL).events if isinstance(e, TryEnded)]
    assert [e.status for e in ended] == [TryStatus.CANCELLED]


def test_files_are_read_while_a_guest_runs_and_guests_wait_for_each_other(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    trials = FakeTrials()
    with opened(folder, trials=trials) as session:
        write_script(session, "# wait\n")
        threads = [threading.Thread(target=session.call, args=("try", {}, "t")) for _ in range(MAX_WAITING)]
        for thread in threads:
            thread.start()
        while session.ledger.calls < MAX_WAITING + 1 or not trials.ran:
            pass
        assert not session.call("read", {"path": "train_gpt2.py"}, "t").is_error
        assert "waiting already" in session.call("try", {}, "t").text
        assert len(trials.ran) == 1
        session.stop()
        for thread in threads:
            thread.join()
    assert len(trials.ran) == 1


def test_a_submission_with_faults_is_refused_before_it_is_charged(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    with opened(folder) as session:
        write_script(session, "# fault\n")
        assert session.call("check", {}, "t").values["faults"] == ["syntax"]
        assert "syntax" in session.call("evaluate", {}, "t").text
        write_script(session, "# crash\n")
        failed = session.call("evaluate", {}, "t").values
        assert (failed["status"], failed["time_ms"], failed["valid"]) == (NodeStatus.BUGGY_CRASH, None, False)
        assert session.call("evaluate", {"parent": 1}, "t").values["parent"] == 1
    assert len(read_run(folder).tree.nodes) == 2


def test_only_one_process_serves_a_session(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    mine = f"in use by process {os.getpid()}"
    with opened(folder), pytest.raises(UsageError, match=mine) as refused, opened(folder):
        pass
    assert f"speedrun session show {folder}" in refused.value.hint
    with pytest.raises(UsageError, match="is not empty"):
        begin(tmp_path)


@pytest.mark.parametrize("budget", ["", "usd=5", "tokens=5M,wall=1h"])
def test_a_budget_that_a_session_cannot_count_is_refused(tmp_path: Path, budget: str) -> None:
    with pytest.raises(UsageError):
        begin(tmp_path, budget)


def test_other_commands_say_that_it_is_a_session(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = begin(tmp_path)
    assert run(["agent", "show", str(folder)]) == 0
    assert f"hint: speedrun session serve {folder} --stdio" in capsys.readouterr().err
    assert run(["agent", "resume", str(folder), "--keys", str(tmp_path / "keys")]) == 2
    assert "is a session" in capsys.readouterr().err


def test_files_of_very_many_lines_are_not_compared_line_by_line(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    with opened(folder) as session:
        for i in range(4):
            content = f"{i}\n" * 3_000
            assert not session.call("write", {"path": f"part{i}.py", "content": content}, "t").is_error
        assert session.call("evaluate", {}, "t").values["valid"]
    assert "were not compared" in (folder / "nodes" / "001" / "diff.patch").read_text()


def test_a_workspace_that_grew_outside_the_tools_is_not_run(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    (folder / "workspace" / "data.py").write_text("#" * (2 << 20))
    with opened(folder) as session:
        for tool in ("check", "try", "evaluate"):
            assert "larger than 1 MiB" in session.call(tool, {}, "t").text


def test_calls_end_before_the_journal_is_too_large_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin(tmp_path)
    monkeypatch.setattr("kit.session.session.MAX_CALL_BYTES", (folder / JOURNAL).stat().st_size + 5000)
    with opened(folder) as session:
        while (last := session.call("budget", {"x" * 30: "☃" * 90}, "☃" * 90)).text != FULL:
            assert last.is_error
        assert session.call("evaluate", {}, "t").text == FULL
        assert session.refuse("(too large)", "too large", "t").text == FULL
        size = (folder / JOURNAL).stat().st_size
    assert len(called(folder)) > 3 and size == (folder / JOURNAL).stat().st_size < MAX_JOURNAL
    assert read_run(folder).tree.nodes == ()


def test_a_session_that_filled_its_part_of_the_disk_runs_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin(tmp_path)
    monkeypatch.setattr("kit.session.guests.MAX_KEPT", 4000)
    with opened(folder) as session:
        write_script(session, f"# {'x' * 3000}\n")
        assert not session.call("try", {"seconds": 1}, "t").is_error
        for tool in ("try", "evaluate"):
            assert "of the host's disk" in session.call(tool, {}, "t").text
        assert not session.call("budget", {}, "t").is_error
    assert read_run(folder).tree.nodes == ()


def test_directories_of_deleted_files_are_removed(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    with opened(folder) as session:
        for path in ("a/b/c/x.py", "a/y.py"):
            assert not session.call("write", {"path": path, "content": "1"}, "t").is_error
        assert not session.call("delete", {"path": "a/b/c/x.py"}, "t").is_error
        assert sorted(p.name for p in (folder / "workspace").rglob("*")) == ["a", "train_gpt2.py", "y.py"]
        assert not session.call("delete", {"path": "a/y.py"}, "t").is_error
        assert [p.name for p in (folder / "workspace").iterdir()] == ["train_gpt2.py"]


def test_one_check_runs_at_a_time(tmp_path: Path) -> None:
    """The host parses the script: many checks at once would keep the server busy."""
    folder = begin(tmp_path)
    inside, leave = threading.Event(), threading.Event()
    parts = fake_parts(folder)

    def check(where: Path) -> tuple[str, ...]:
        inside.set()
        leave.wait()
        return ()

    with open_session(folder, replace(parts, task=replace(parts.task, check=check))) as session:
        first = threading.Thread(target=session.call, args=("check", {}, "t"))
        first.start()
        inside.wait()
        assert "another check" in session.call("check", {}, "t").text
        leave.set()
        first.join()
        assert not session.call("check", {}, "t").is_error


def test_an_agent_is_told_no_command_of_the_host():
    assert _hint_of(PrerequisiteError("no GPU", "speedrun eval --profile smoke")) == (
        " (only whoever runs this session can mend this)"
    )
    assert _hint_of(UsageError("too large", "delete a file")) == " (delete a file)"
    assert _hint_of(UsageError("too large", "")) == ""


@pytest.mark.parametrize("empty", [True, False])
def test_a_lost_journal_does_not_give_the_budget_again(tmp_path: Path, empty: bool) -> None:
    folder = begin(tmp_path)
    with opened(folder) as session:
        session.call("evaluate", {}, "t")
    (folder / JOURNAL).write_bytes(b"") if empty else (folder / JOURNAL).unlink()
    with pytest.raises(IntegrityError, match="missing or empty"), opened(folder):
        pass
    assert empty == (folder / JOURNAL).exists()


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201])
def test_an_agent_without_a_usable_name_is_a_usage_error(tmp_path: Path, name: str) -> None:
    task = fake_parts(tmp_path).task
    with pytest.raises(UsageError, match="invalid agent"):
        session_spec(task, name, parse_budget("wall=1h"), None, Overrides())


@pytest.mark.parametrize(
    "key", ["foo", "usd", "tokens", "prompt-tokens", "completion-tokens", "nodes", "repairs"]
)
def test_a_budget_lists_and_takes_only_what_a_session_counts(key: str, tmp_path: Path, capsys: Any) -> None:
    argv = [
        "session",
        "new",
        "--task",
        "smoke-1",
        "--budget",
        f"wall=1h,{key}=1",
        "--out",
        str(tmp_path / "s"),
    ]
    assert run(argv) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert (error, hint) == (f"error: unknown budget key {key!r}", "hint: keys: gpu-hours, wall, evaluations")
    assert not (tmp_path / "s").exists()


def test_a_budget_of_what_a_session_does_not_count_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="counts only gpu-hours, wall, evaluations"):
        session_spec(fake_parts(tmp_path).task, "x", parse_budget("wall=1h,usd=1"), None, Overrides())


def test_a_kill_between_a_decision_and_its_evaluation_leaves_a_journal_that_verifies(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    with opened(folder) as session:
        ledger = session.ledger
        ledger.write(Decided(ledger.tree.decisions, (Action(ActionKind.DRAFT, 0),)))
    with opened(folder) as session:
        write_script(session, "# fast\n")
        assert not session.call("evaluate", {}, "t").is_error
        assert [node.status for node in session.ledger.tree.nodes] == [
            NodeStatus.LOST, NodeStatus.VALID_IMPROVED,
        ]  # fmt: skip
        assert session.call("budget", {}, "t").values["charged"]["evaluations"] == 1, (
            "the lost one cost nothing"
        )
    assert not any("out of order" in fault for fault in verify_session(folder, Trusted(())).faults)


def test_the_check_of_an_evaluation_holds_no_turn_of_the_machine(tmp_path: Path) -> None:
    """Files made to be slow would keep the GPUs from everyone, and a refusal costs nothing."""
    folder, held, checked = begin(tmp_path), [], []

    @contextlib.contextmanager
    def turn(cancelled: Callable[[], bool]) -> Iterator[None]:
        held.append(True)
        yield
        held.pop()

    def check(where: Path) -> tuple[str, ...]:
        checked.append(bool(held))
        return ()

    parts = fake_parts(folder)
    parts = replace(parts, turn=turn, task=replace(parts.task, check=check))
    with open_session(folder, parts) as session:
        assert not session.call("evaluate", {}, "t").is_error
    assert checked == [False]

"""A session whose directory an agent with a shell has changed, and a clock that jumps."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_session import START, FakeTrials, begin, fake_parts, opened, write_script

from kit.agent.events import Decided, NodeReserved
from kit.agent.journal import JOURNAL
from kit.agent.node import Action, ActionKind, NodeStatus
from kit.agent.nodefiles import Files, NodeFiles
from kit.agent.recorded import BUNDLES, read_run
from kit.benchmark import submission
from kit.benchmark.submission import load_submission
from kit.benchmark.workspace import Listing
from kit.core.digest import Sha256
from kit.core.errors import IntegrityError, KitError, RunError, UsageError
from kit.core.open_folder import OpenFolder
from kit.result.keys import Trusted
from kit.sandbox.stamp import LogWriter
from kit.session.opening import open_session, steady
from kit.session.trials import TRIES, TryOutcome
from kit.session.verify import verify_session
from kit.session.workspace import WORKSPACE
from kit.values.run_spec import Limits


def elsewhere(folder: Path) -> Path:
    """A directory of the host that looks like a submission."""
    secret = folder / "elsewhere"
    secret.mkdir()
    (secret / "train_gpt2.py").write_text("secret = 1\n")
    return secret


def test_a_workspace_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC).isoformat
    folder = begin(tmp_path, parts=fake_parts(tmp_path / "session", now=now))
    secret = elsewhere(tmp_path)
    (folder / WORKSPACE).rename(tmp_path / "moved")
    (folder / WORKSPACE).symlink_to(secret)
    with opened(folder, now=now) as session:
        for tool, arguments in (
            ("list", {}),
            ("read", {"path": "train_gpt2.py"}),
            ("write", {"path": "train_gpt2.py", "content": "x"}),
            ("check", {}),
            ("try", {}),
            ("evaluate", {}),
        ):
            answer = session.call(tool, arguments, "t")
            assert answer.is_error and "secret" not in answer.text, tool
    assert (secret / "train_gpt2.py").read_text() == "secret = 1\n"
    assert read_run(folder).spent.charged.wall_s == 0 and not (folder / TRIES / "001").exists()


@pytest.mark.parametrize("last", ["sub", "sub/x.py"])
def test_a_link_that_replaces_a_listed_file_or_its_directory_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "train_gpt2.py").write_text("print(1)\n")
    secret = elsewhere(tmp_path)
    (secret / "x.py").write_text("secret = 1\n")
    if last == "sub":
        (work / "sub").rmdir()
        (work / "sub").symlink_to(secret)
    else:
        (work / "sub" / "x.py").symlink_to(secret / "x.py")
    listing = Listing(("sub/x.py", "train_gpt2.py"), (), ())  # as it was before the exchange
    monkeypatch.setattr(submission, "list_folder", lambda folder: listing)
    with pytest.raises(UsageError, match=r"cannot read .*sub/x\.py"):
        load_submission(work)


@pytest.mark.parametrize(("place", "tool"), [("tries", "try"), ("tries/001", "try"), ("nodes", "evaluate"),
                                             ("nodes/001", "evaluate"), ("bundles", "evaluate")])  # fmt: skip
def test_a_directory_of_runs_that_became_a_link_gets_nothing(tmp_path: Path, place: str, tool: str) -> None:
    folder, secret = begin(tmp_path), elsewhere(tmp_path)
    before = sorted(secret.rglob("*"))
    if (folder / place).is_dir():
        (folder / place).rmdir()
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).symlink_to(secret)
    with opened(folder) as session:
        write_script(session, "# fast\n")
        answer = session.call(tool, {}, "t")
        assert answer.is_error and "is a symbolic link" in answer.text and answer.kind is IntegrityError
        assert session.call("budget", {}, "t").values["charged"]["gpu_hours"] == 0
    assert sorted(secret.rglob("*")) == before


@pytest.mark.parametrize("make", ["link", "pipe"])
def test_the_log_of_a_try_is_not_read_through_a_link(tmp_path: Path, make: str) -> None:
    folder, secret = begin(tmp_path), elsewhere(tmp_path) / "train_gpt2.py"
    with opened(folder) as session:
        assert not session.call("try", {}, "t").is_error
        log = folder / TRIES / "001" / "guest.log"
        log.unlink()
        as_pipe(log) if make == "pipe" else log.symlink_to(secret)
        assert "secret" not in session.call("history", {"trial": 1}, "t").text


@pytest.mark.parametrize("name", ["guest.log", "stamps"])
@pytest.mark.parametrize("make", ["link", "pipe"])
def test_a_guests_output_is_not_written_through_a_link(tmp_path: Path, name: str, make: str) -> None:
    secret = elsewhere(tmp_path) / "train_gpt2.py"
    path = tmp_path / name
    as_pipe(path) if make == "pipe" else path.symlink_to(secret)
    with pytest.raises(KitError, match=name):
        LogWriter(tmp_path / "guest.log", tmp_path / "stamps", Limits(memory=1))
    assert secret.read_text() == "secret = 1\n"


def exchanged(folder: Path, secret: Path) -> None:
    """Put a link to another directory in the place of one."""
    if not folder.is_symlink():
        shutil.rmtree(folder.with_name(f"{folder.name}-moved"), ignore_errors=True)
        folder.rename(folder.with_name(f"{folder.name}-moved"))
        folder.symlink_to(secret)


def test_a_workspace_that_becomes_a_link_while_it_is_read_gives_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, secret = begin(tmp_path), elsewhere(tmp_path)
    listed = submission.list_folder

    def list_and_exchange(opened: OpenFolder) -> Listing:
        found = listed(opened)
        exchanged(folder / WORKSPACE, secret)
        return found

    monkeypatch.setattr(submission, "list_folder", list_and_exchange)
    with opened(folder) as session:
        files = session.workspace.snapshot().files
    assert [file.data for file in files] == [START]


def test_a_directory_that_becomes_a_link_before_it_is_entered_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, secret = begin(tmp_path), elsewhere(tmp_path)
    (folder / WORKSPACE / "sub").mkdir()
    entries = OpenFolder.entries

    def exchange_and_enter(self: OpenFolder, name: str = "") -> contextlib.AbstractContextManager[Any]:
        if name == "sub":
            exchanged(folder / WORKSPACE / "sub", secret)
        return entries(self, name)

    monkeypatch.setattr(OpenFolder, "entries", exchange_and_enter)
    with opened(folder) as session:
        for tool in ("list", "check", "try"):
            answer = session.call(tool, {}, "t")
            assert answer.is_error and "sub/train" not in answer.text, tool


@pytest.mark.parametrize("tool", ["try", "evaluate"])
def test_a_copy_of_the_script_that_is_exchanged_is_not_run(
    tmp_path: Path, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, secret = begin(tmp_path), elsewhere(tmp_path)
    write = NodeFiles.write_submission

    def write_and_exchange(self: NodeFiles, files: Files) -> Sha256:
        digest = write(self, files)
        exchanged(self.submission, secret)
        return digest

    monkeypatch.setattr(NodeFiles, "write_submission", write_and_exchange)
    with opened(folder) as session:
        write_script(session, "# fast\n")
        assert not session.call(tool, {}, "t").is_error
        log = folder / (f"{TRIES}/001/guest.log" if tool == "try" else f"{BUNDLES}/001-1")
        assert "# fast" in log.read_text() and "secret" not in log.read_text()
    assert sorted(p.name for p in secret.iterdir()) == ["train_gpt2.py"]
    faults = verify_session(folder, Trusted(())).faults
    assert any("submission was changed" in fault for fault in faults)


def test_the_log_of_a_try_is_not_written_into_a_directory_that_takes_its_place(tmp_path: Path) -> None:
    folder, secret = begin(tmp_path), elsewhere(tmp_path)

    class Exchanging(FakeTrials):
        def run(self, submission: Path, folder: Path, *others: Any) -> TryOutcome:
            exchanged(session.ledger.run / TRIES / "001", secret)
            return super().run(submission, folder, *others)

    with opened(folder, trials=Exchanging()) as session:
        answer = session.call("try", {}, "t")
        assert not answer.is_error and "print('start')" not in answer.text, "the link is not read either"
    assert sorted(p.name for p in secret.iterdir()) == ["train_gpt2.py"]
    assert "print('start')" in (folder / TRIES / "001-moved" / "guest.log").read_text()


def test_an_exchanged_node_gets_no_file_elsewhere(tmp_path: Path) -> None:
    run, secret = tmp_path / "run", elsewhere(tmp_path)
    node = NodeFiles(run, 1)
    node.write_diff("a change")
    with node.opened() as own:
        exchanged(node.folder, secret)
        (own / "evaluated.json").write_text("{}")
    assert (run / "nodes" / "001-moved" / "evaluated.json").is_file()
    with pytest.raises(IntegrityError, match="001 is a symbolic link"):
        node.write_diff("another change")
    assert sorted(p.name for p in secret.iterdir()) == ["train_gpt2.py"]


def in_a_linked_directory(run: Path, secret: Path) -> str:
    (run / "bundles" / "r").symlink_to(secret)
    return "bundles/r/guest.log"


def above(run: Path, secret: Path) -> str:
    return f"bundles/../../{secret.name}/guest.log"


def outside(run: Path, secret: Path) -> str:
    return str(secret / "guest.log")


@pytest.mark.parametrize("place", [in_a_linked_directory, above, outside])
def test_the_log_of_an_evaluation_is_read_below_the_session_alone(
    tmp_path: Path, place: Callable[[Path, Path], str]
) -> None:
    folder, secret = begin(tmp_path), elsewhere(tmp_path)
    (secret / "guest.log").write_text("secret = 2\n")
    with opened(folder) as session:
        write_script(session, "# crash\n")
        session.call("evaluate", {}, "t")
        path = folder / "nodes" / "001" / "evaluated.json"
        shown = json.loads(path.read_text())
        path.write_text(json.dumps({**shown, "log": place(folder, secret)}))
        answer = session.call("history", {"evaluation": 1}, "t")
        assert "secret" not in answer.text and "crashed" in answer.text
        (folder / BUNDLES / "guest.log").write_text("Traceback of its own\n")
        path.write_text(json.dumps({**shown, "log": "bundles/guest.log"}))
        assert "Traceback of its own" in session.call("history", {"evaluation": 1}, "t").text


def test_the_check_reads_what_was_copied_of_the_workspace(tmp_path: Path) -> None:
    folder, read = begin(tmp_path), []

    def check(where: Path) -> tuple[str, ...]:
        read.append(where)
        return (f"train_gpt.py not found in {where}", (where / "train_gpt2.py").read_text())

    parts = fake_parts(folder)
    with open_session(folder, replace(parts, task=replace(parts.task, check=check))) as session:
        faults = session.call("check", {}, "t").values["faults"]
        assert session.call("evaluate", {}, "t").is_error
    assert faults == ["train_gpt.py not found in the workspace", START.decode()]
    assert len(read) == 2 and not any(where.is_relative_to(tmp_path) or where.exists() for where in read)


def test_a_huge_file_in_a_lost_evaluation_is_not_read_into_memory(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    with opened(folder) as session:
        ledger = session.ledger
        ledger.write(Decided(ledger.tree.decisions, (Action(ActionKind.DRAFT, 0),)))
        ledger.write(NodeReserved(1, Action(ActionKind.DRAFT, 0)))
    copy = folder / "nodes" / "001" / "submission"
    copy.mkdir(parents=True)
    with (copy / "train_gpt2.py").open("wb") as f:
        f.truncate(1 << 40)
    with opened(folder) as session:
        node = session.ledger.tree.node(1)
        assert node.status is NodeStatus.LOST and node.submission_sha256 is None


def test_an_evaluation_that_the_host_fails_is_ended_and_another_one_can_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: NodeFiles, run: object) -> None:
        raise OSError(5, "Input/output error")

    folder = begin(tmp_path)
    with opened(folder) as session:
        with monkeypatch.context() as patch:
            patch.setattr(NodeFiles, "write_evaluated", fails)
            assert session.call("evaluate", {}, "t").kind is RunError
        write_script(session, "# fast\n")
        assert not session.call("evaluate", {}, "t").is_error
        nodes = session.ledger.tree.nodes
    assert [node.status for node in nodes] == [NodeStatus.INFRA_FAILED, NodeStatus.VALID_IMPROVED]
    assert read_run(folder).tree.open is None


def as_pipe(path: Path) -> None:
    os.mkfifo(path)


def as_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [as_pipe, as_link, Path.mkdir])
def test_a_journal_that_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = begin(tmp_path)
    (folder / JOURNAL).unlink()
    make(folder / JOURNAL)
    with pytest.raises(Exception, match=JOURNAL), opened(folder):
        pass


def test_a_tree_deeper_than_python_can_recurse_does_not_stop_a_session(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    here = os.open(folder / WORKSPACE, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        with opened(folder) as session:
            assert "levels deep" in session.call("check", {}, "t").text
            assert not session.call("list", {}, "t").is_error
    finally:  # pytest would recurse to remove it
        subprocess.run(["rm", "-r", str(folder / WORKSPACE / "d")], check=True)


def test_unfinished_files_are_removed_and_others_are_kept(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    (folder / WORKSPACE / "a" / "b").mkdir(parents=True)
    for name in (".speedrun-new-1", "a/b/.speedrun-new-2"):
        (folder / WORKSPACE / name).touch()
    outside = elsewhere(tmp_path) / ".speedrun-new-3"
    outside.touch()
    (folder / WORKSPACE / "link").symlink_to(outside.parent)
    with opened(folder):
        pass
    left = sorted(p.name for p in (folder / WORKSPACE).rglob("*") if not p.is_dir())
    assert left == ["train_gpt2.py"] and outside.exists()
    exchanged(folder / WORKSPACE, outside.parent)
    with opened(folder):
        pass
    assert outside.exists()


def test_a_jump_of_the_clock_neither_ends_nor_prolongs_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = [100.0]
    monkeypatch.setattr("kit.session.opening.time.monotonic", lambda: ticks[0])
    day = datetime(2026, 11, 29, tzinfo=UTC)
    times = iter([day, day + timedelta(days=1), day - timedelta(days=1)])
    clock = steady(lambda: next(times).isoformat())
    read = []
    for _ in range(3):
        ticks[0] += 5
        read.append(datetime.fromisoformat(clock()) - day)
    assert read == [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=15)]


def test_sessions_use_the_steady_clock(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    with open_session(folder, fake_parts(folder)) as session:
        first = session.ledger.now()
        time.sleep(0.001)  # two calls can be in one microsecond
        second = session.ledger.now()
        assert datetime.fromisoformat(second) > datetime.fromisoformat(first)
        assert session.ledger.now.__qualname__.startswith("steady")

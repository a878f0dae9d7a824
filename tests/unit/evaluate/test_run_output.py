"""`speedrun runs log`: what a guest printed, safe to show, also while the run goes on."""

import os
import shutil
from pathlib import Path

import pytest

from kit.cli import run
from kit.core import locks
from kit.core.errors import PrerequisiteError
from kit.evaluate.run_output import MAX_LINE, OutputReader, await_run, follow, shown_lines
from kit.sandbox.folder import RunFolder

GOLDEN = Path(__file__).parents[2] / "assets" / "golden"
RUN_ID = "r03-20261128T165651Z-3aaf2cf5"


@pytest.fixture
def out(tmp_path):
    shutil.copytree(GOLDEN / "run", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def open_run(tmp_path):
    """An unfinished run whose owner is this process."""
    folder = RunFolder(tmp_path / "runs" / "r03-20261129T000000Z-00000001")
    folder.path.mkdir(parents=True)
    folder.intent.write_text("{}")
    folder.log.touch()
    lock = locks.acquire(folder.alive)
    yield folder
    lock.release()


class Script:
    """Stands for `time.sleep`: does one thing at each pause, and fails if there are more pauses."""

    def __init__(self, *actions):
        self.actions = list(actions)

    def __call__(self, seconds):
        assert seconds > 0
        self.actions.pop(0)()


def append(folder, data):
    def do():
        with folder.log.open("ab") as f:
            f.write(data)

    return do


def finish(folder, data=b""):
    def do():
        append(folder, data)()
        folder.result.write_text("{}")
        folder.intent.unlink()

    return do


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a", ["a"]),
        (b"\n\n", ["", ""]),
        (b"a\r\nb\n", ["a", "b"]),
        (b"1%\r2%\r3%\n", ["1%", "2%", "3%"]),
        (b"\x1b[31mred\x1b[0m\n", ["red"]),
        (b"\x1b]0;title\x07x\n", ["x"]),
        (b"\ta\tb\n", ["        a       b"]),
        (b"\x1b[9999;9999Z\x00\x08\x7f\x9b\n", ["\ufffd\ufffd\ufffd\ufffd"]),
        ("a\u202eb\u2028c\n".encode(), ["a\ufffdb\ufffdc"]),
        (b"\xff\xfe\n", ["\ufffd\ufffd"]),
        ("Gr\u00fc\u00dfe \u4f60\n".encode(), ["Gr\u00fc\u00dfe \u4f60"]),
    ],
)
def test_output_is_shown_without_control_characters(data, lines):
    assert shown_lines(data) == lines


def test_the_log_of_a_finished_run_is_printed_as_it_is(out, capsys):
    assert run(["runs", "log", "latest", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.out == (out / RUN_ID / "guest.log").read_text()
    assert shown.err == ""


def test_following_a_finished_run_ends_at_once(out, capsys):
    assert run(["runs", "log", "-f", str(out / RUN_ID)]) == 0
    shown = capsys.readouterr()
    assert shown.out == (out / RUN_ID / "guest.log").read_text()
    assert shown.err.strip() == f"{RUN_ID} ended"


def test_new_lines_are_shown_until_the_result_is_there(open_run):
    script = Script(
        lambda: None,
        append(open_run, b"one\ntw"),
        append(open_run, b"o\n"),
        finish(open_run, b"three\nhalf a line"),
    )
    groups = list(follow(open_run, script))
    assert groups == [["one"], ["two"], ["three"], ["half a line"]]
    assert not script.actions


def test_a_run_that_lost_its_process_ends_too(tmp_path, capsys):
    folder = RunFolder(tmp_path / "runs" / "r03-20261129T000000Z-00000002")
    folder.path.mkdir(parents=True)
    folder.intent.write_text("{}")
    folder.log.write_text("last words\n")
    assert run(["runs", "log", "-f", folder.run_id, "--out", str(folder.path.parent)]) == 0
    shown = capsys.readouterr()
    assert shown.out == "last words\n" and "interrupted" in shown.err


def test_without_following_an_open_run_says_how_to_follow(open_run, capsys):
    open_run.log.write_text("so far\n")
    assert run(["runs", "log", open_run.run_id, "--out", str(open_run.path.parent)]) == 0
    shown = capsys.readouterr()
    assert shown.out == "so far\n" and "-f" in shown.err


@pytest.mark.parametrize("name", ["latest", "next", RUN_ID])
def test_a_run_that_is_being_started_is_waited_for(tmp_path, name):
    out = tmp_path / "runs"
    told = []
    script = Script(
        lambda: None,
        out.mkdir,
        (out / ".reserving-x").mkdir,
        lambda: (out / ".reserving-x").rename(out / RUN_ID),
    )
    assert await_run(name, out, lambda: told.append(1), script).run_id == RUN_ID
    assert told == [1] and not script.actions


def test_the_next_run_is_not_one_that_is_there(out):
    fresh = "r01-20261129T000000Z-00000009"
    found = await_run("next", out, lambda: None, Script((out / fresh).mkdir))
    assert found.run_id == fresh


@pytest.mark.parametrize("name", ["r09", "nonsense", "r03-20270101", "a/b"])
def test_a_name_that_cannot_come_is_not_waited_for(out, name):
    with pytest.raises(PrerequisiteError):
        await_run(name, out, lambda: None, Script())


def test_a_very_long_line_is_cut_and_not_collected(open_run):
    open_run.log.write_bytes(b"x" * (3 * MAX_LINE))
    groups = list(OutputReader(open_run.log).read())
    assert groups and all(len(line) <= MAX_LINE for lines in groups for line in lines)


def test_a_log_that_is_replaced_by_a_shorter_one_is_read_from_its_start(open_run):
    reader = OutputReader(open_run.log)
    open_run.log.write_text("old old\n")
    assert list(reader.read()) == [["old old"]]
    open_run.log.write_text("new\n")
    assert list(reader.read()) == [["new"]]


@pytest.mark.parametrize("kind", ["missing", "fifo", "link", "folder"])
def test_a_log_that_is_no_file_is_an_error(out, kind, capsys):
    log = out / RUN_ID / "guest.log"
    log.unlink()
    {
        "missing": lambda: None,
        "fifo": lambda: os.mkfifo(log),
        "link": lambda: log.symlink_to("/etc/passwd"),
        "folder": log.mkdir,
    }[kind]()
    for arguments in ([], ["-f"]):
        assert run(["runs", "log", RUN_ID, "--out", str(out), *arguments]) == 3
        assert str(log) in capsys.readouterr().err

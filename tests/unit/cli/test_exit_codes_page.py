"""docs/reference/exit-codes.md says what is so: its examples end with the codes that stand beside them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from desk import RUN_ID, lay
from seeds import capsule_of

from kit import cli
from kit.cli import EXIT_CODES, run

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "exit-codes.md").read_text()
ROWS = re.findall(r"^\| *(\d+) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    here = lay(tmp_path_factory.mktemp("codes"))
    shutil.copytree(here / "runs" / RUN_ID, here / "changed")
    (here / "changed" / "guest.log").write_bytes(b"another log\n")
    (here / "huge.tar").write_bytes(capsule_of())
    return here


def test_the_page_lists_every_code():
    codes = {0, 1, 130} | {code for _, code in EXIT_CODES}
    assert [int(code) for code, _, _ in ROWS] == sorted(codes)


EXAMPLES = [(int(c), e) for c, _, e in ROWS if e.startswith("`")]


def words(example):
    return example.strip("`").replace("<run_id>", RUN_ID).split()[1:]


@pytest.mark.parametrize(("code", "example"), EXAMPLES)
def test_a_process_ends_with_the_code_of_its_example(code, example, desk):
    env = {**os.environ, "XDG_CONFIG_HOME": str(desk.parent / "config")}
    argv = [sys.executable, "-m", "kit.cli", *words(example)]
    done = subprocess.run(argv, cwd=desk, env=env, capture_output=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("code", "example"), EXAMPLES)
def test_the_example_of_each_code_ends_with_it(code, example, desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(desk.parent / "config"))
    assert run(words(example)) == code
    captured = capsys.readouterr()
    if code > 1:
        assert re.match(r"error: .+\nhint: .+\n", captured.err), "a message, and what to do next"
        assert captured.out == ""


def test_an_interrupt_ends_with_130_and_no_traceback(tmp_path):
    code = (
        "import sys, os, signal, time\nfrom kit import cli\nimport kit.data.synth\n"
        "signal.signal(2, signal.default_int_handler)\n"  # what runs in the background may inherit it ignored
        "kit.data.synth.ensure_smoke = lambda *a, **k: os.kill(os.getpid(), 2) or time.sleep(30)\n"
        "sys.exit(cli.run(['data', 'synth', '--store', sys.argv[1]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 130 and done.stderr.strip() == "error: interrupted"


@pytest.mark.parametrize("unread", [["record", "list"], ["record", "list", "--json"], ["--help"]])
def test_an_answer_that_nobody_reads_ends_the_command_by_sigpipe(unread):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as closed:
        argv = [sys.executable, "-m", "kit.cli", *unread]
        done = subprocess.run(argv, stdout=closed, stderr=subprocess.PIPE, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error_and_its_number_is_not_used_again(closed, tmp_path):
    code = (
        "import os, sys\nfrom kit.cli.streams import prepare_streams\nfrom kit.cli import run\n"
        "prepare_streams()\nopened = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "sys.exit(run(['record', 'list']) if opened > 2 else 9)\n"
    )
    command = f'exec "$@" {closed}'
    argv = ["sh", "-c", command, "sh", sys.executable, "-c", code, str(tmp_path / "file")]
    done = subprocess.run(argv, capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/x/y"), "/x/y: No space left on device"),
        (OSError(24, "Too many open files"), "ulimit -n"),
        (OSError("no number"), "no number"),
        (MemoryError(), "out of memory"),
    ],
)
def test_what_the_machine_refuses_is_one_line_and_5(monkeypatch, capsys, error, said):
    def fail(**_):
        raise error

    monkeypatch.setattr(cli.speedrun, "main", fail)
    assert run([]) == 5
    assert said in capsys.readouterr().err

"""No exception and no encoding ends the command with a traceback."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kit.cli import crash, run, speedrun
from kit.cli.streams import replace_unencodable


def fails_with(monkeypatch, error):
    def fail(**_):
        raise error

    monkeypatch.setattr(speedrun, "main", fail)


def traceback_file(err: str) -> Path:
    return Path(re.search(r"^hint: .* traceback in (\S+)$", err, re.MULTILINE)[1])


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("odd\nvalue"),
        KeyError("x"),
        UnicodeEncodeError("latin-1", "\ufffd", 0, 1, "no"),
        OSError("?"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_an_unexpected_error_is_one_line_a_file_and_5(error, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fails_with(monkeypatch, error)
    assert run(["doctor"]) == 5
    err = capsys.readouterr().err
    assert [line.partition(":")[0] for line in err.splitlines()] == ["error", "hint"]
    assert type(error).__name__ in err and "Traceback" not in err
    file = traceback_file(err)
    assert file.is_relative_to(tmp_path) and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "Traceback (most recent call last)" in file.read_text()


def test_without_a_cache_directory_the_traceback_is_in_the_temp_directory(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fails_with(monkeypatch, ZeroDivisionError())
    assert run([]) == 5
    assert traceback_file(capsys.readouterr().err).parent == tmp_path


def test_without_any_directory_the_error_is_still_one_line_and_5(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    fails_with(monkeypatch, ZeroDivisionError("division by zero"))
    assert run([]) == 5
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("error: unexpected error") and first.endswith(
        "ZeroDivisionError: division by zero"
    )


def speedrun_process(*argv, stderr=subprocess.PIPE, **variables):
    environment = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **variables}
    command = [sys.executable, "-m", "kit.cli", *map(os.fspath, argv)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, env=environment, timeout=300)


LOCALES = [{"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}]


@pytest.mark.parametrize("variables", LOCALES, ids=str)
def test_a_locale_without_a_character_changes_no_exit_code(variables, tmp_path):
    missing = os.fsencode(tmp_path) + b"/\xc3\x9cbung\x07\xff\xe2\x82\xac"
    ended = speedrun_process("bundle", "show", missing, **variables)
    assert ended.returncode == 3
    assert ended.stderr.startswith(b"error: bundle not found") and b"Traceback" not in ended.stderr


def test_json_in_a_locale_without_a_character_keeps_its_values():
    for variables in LOCALES:
        ended = speedrun_process("task", "show", "3", "--json", **variables)
        assert ended.returncode == 0
        assert json.loads(ended.stdout) == json.loads(
            speedrun_process("task", "show", "3", "--json", PYTHONIOENCODING="utf-8").stdout
        )


def test_a_stderr_that_cannot_be_written_changes_no_exit_code():
    with open("/dev/full", "wb") as full:
        assert speedrun_process("record", "show", "99", stderr=full).returncode == 2


def test_bytes_of_a_path_stay_and_characters_become_question_marks():
    def encoded(text):
        return replace_unencodable(UnicodeEncodeError("latin-1", text, 0, 1, "no"))

    assert encoded("\udcff") == (b"\xff", 1)
    assert encoded("\ufffd") == ("?", 1)


def test_a_report_that_fails_itself_is_still_one_line_and_5(monkeypatch, capsys):
    def fail(error):
        raise MemoryError

    monkeypatch.setattr(crash, "write_traceback", fail)
    fails_with(monkeypatch, ZeroDivisionError("division by zero"))
    assert run([]) == 5
    assert capsys.readouterr().err.startswith("error: unexpected error")


def test_a_working_directory_that_was_removed_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    code = run(["eval", "--record", "3", "--profile", "smoke", "--plan", "--runtime", "runc"])
    assert code == 5
    assert capsys.readouterr().err.startswith(
        "error: the working directory no longer exists\nhint: change to"
    )

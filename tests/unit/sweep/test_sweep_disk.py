"""A file system that the files of a sweep cannot live on is refused before a cell starts."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest
from system_errors import failing

from kit.cli import run
from kit.core.errors import PrerequisiteError, RunError
from kit.sweep.disk import require_disk
from kit.sweep.folder import make_sweep, open_sweep
from kit.sweep.grid import read_grid
from kit.sweep.lines import append_line, read_lines

pytest.importorskip("scipy")
EXAMPLE = Path(__file__).parents[3] / "docs" / "guides" / "example_sweep.toml"


def test_an_ordinary_directory_is_made_and_left_empty(tmp_path):
    require_disk(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_directory_without_locks_is_refused_before_the_plan_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    assert run(["sweep", "run", str(EXAMPLE), "--out", str(tmp_path)]) == 3
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: the file system of {tmp_path}/try has no locks (flock)")
    assert "NFS 4" in hint and "--out" in hint
    assert list((tmp_path / "try").iterdir()) == []


def test_a_node_that_mounts_the_directory_without_locks_starts_no_cell(tmp_path, monkeypatch, capsys):
    sweep = make_sweep(tmp_path / "s", read_grid(EXAMPLE, "1.0"), "now")
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    cell = sweep.plan.cells[0]
    assert run(["sweep", "cell", str(sweep.path), cell.id]) == 3
    assert "has no locks" in capsys.readouterr().err
    assert not (sweep.folder(cell).path / "attempts.jsonl").exists()


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL])
def test_renames_that_fail_are_named(tmp_path, monkeypatch, code):
    monkeypatch.setattr(Path, "replace", failing(code))
    with pytest.raises(PrerequisiteError, match=r"cannot replace and sync a file in .*: ") as e:
        require_disk(tmp_path)
    assert os.strerror(code) in e.value.message


def test_a_full_disk_is_named_by_the_probe_and_cuts_no_line_in_two(tmp_path, monkeypatch):
    sweep = make_sweep(tmp_path / "s", read_grid(EXAMPLE, "1.0"), "now")
    path = sweep.path / "jobs.jsonl"
    append_line(path, {"token": "t", "cells": []})
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(RunError, match="no space left on the disk of"):
        require_disk(sweep.path)
    with pytest.raises(RunError, match="no space left on the disk of"):
        append_line(path, {"token": "t", "job": "7"})
    monkeypatch.undo()
    append_line(path, {"token": "t", "job": "8"})
    assert read_lines(path)[0] == {"token": "t", "cells": []} and read_lines(path)[-1]["job"] == "8"
    assert open_sweep(sweep.path) == sweep


def test_a_line_that_was_cut_off_does_not_swallow_the_next_one(tmp_path):
    path = tmp_path / "lines"
    append_line(path, {"a": 1})
    with path.open("ab") as f:
        f.write(b'{"a": 2')
    append_line(path, {"a": 3})
    assert read_lines(path) == ({"a": 1}, {"a": 3})

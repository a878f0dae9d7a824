"""Directories of cells that were removed, edited or exchanged by hand."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from pressed_search import pressed_run, pressed_spec

from kit.agent.journal import JOURNAL
from kit.agent.recorded import read_run
from kit.agent.spec import run_id
from kit.cli import run
from kit.cli.sweep.run import outcome_text
from kit.core.errors import IntegrityError
from kit.sweep.cell_folder import CellState
from kit.sweep.folder import PLAN, SweepFolder, make_sweep, open_sweep
from kit.sweep.grid import Grid, read_grid
from kit.sweep.lines import read_lines
from kit.sweep.local import FinishedCell
from kit.sweep.results import cell_end

pytest.importorskip("scipy")

GRID = """\
schema = "sweep.v1"
name = "grid"
tasks = ["3"]
hints = ["1,3"]
scaffolds = ["flat"]
models = ["scripted"]
seeds = 3
controls = 1
profile = "full"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SweepFolder:
    """A sweep of three cells; two have ended, with real runs."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "sweep.toml").write_text(GRID)
    grid = read_grid(folder / "sweep.toml", "0")
    specs = [pressed_spec("flat", seed=seed, max_nodes=2) for seed in range(3)]
    cells = tuple(
        replace(
            cell,
            model_sha256=spec.model.profile_sha256,
            prompts_sha256=spec.prompts_sha256,
            profile=spec.evaluation.profile,
        )
        for cell, spec in zip(grid.cells, specs, strict=True)
    )
    changed = Grid(**{**{n: getattr(grid, n) for n in Grid.__slots__}, "cells": cells})
    sweep = make_sweep(folder / "s", changed, "now")
    for cell, spec in list(zip(cells, specs, strict=True))[:2]:
        own = sweep.folder(cell)
        with own.claimed(cell):
            own.write_attempt({"event": "start", "job": None})
            pressed_run(own.runs / run_id(spec), spec)
            own.write_end({**cell_end(read_run(own.runs / run_id(spec))), "cell": cell.id})
    return sweep


@pytest.fixture
def sweep(made, tmp_path):
    """A copy that a test may change."""
    return open_sweep(shutil.copytree(made.path, tmp_path / "s"))


def collected(sweep, capsys) -> tuple[int, dict, str]:
    code = run(["sweep", "collect", str(sweep.path), "--json"])
    done = capsys.readouterr()
    return code, json.loads(done.out) if done.out else {}, done.err


def test_a_sweep_that_is_half_done_counts_the_missing_cell(sweep, capsys):
    code, report, _ = collected(sweep, capsys)
    assert code == 1 and (report["expected"], report["ended"]) == (3, 2)
    assert report["missing"] == [sweep.plan.cells[2].id] and report["faults"] == []
    assert report["scores"][0]["cells"] == 3


def test_a_removed_cell_is_not_started_and_counts_as_missing(sweep, capsys):
    shutil.rmtree(sweep.folder(sweep.plan.cells[0]).path)
    assert sweep.states()[sweep.plan.cells[0].id] is CellState.NOT_STARTED
    assert collected(sweep, capsys)[1]["ended"] == 1


def test_a_run_that_was_replaced_by_anothers_is_a_fault(sweep, capsys):
    first, second = (sweep.folder(cell) for cell in sweep.plan.cells[:2])
    (own,), (other,) = first.runs.iterdir(), second.runs.iterdir()
    shutil.rmtree(own)
    shutil.copytree(other, own)
    code, report, err = collected(sweep, capsys)
    assert code == 1 and len(report["faults"]) == 1 and first.path.name in report["faults"][0]
    assert err.count("FAILED") == 1


def test_an_end_and_a_run_of_another_cell_are_refused(sweep, capsys):
    first, second = (sweep.folder(cell) for cell in sweep.plan.cells[:2])
    shutil.rmtree(first.path)
    shutil.copytree(second.path, first.path)
    code, _, err = collected(sweep, capsys)
    assert code == 4 and f"{first.path}/end.json is not the end of this cell" in err
    document = json.loads((first.path / "end.json").read_bytes())
    (first.path / "end.json").write_text(json.dumps({**document, "cell": first.path.name}))
    code, report, _ = collected(sweep, capsys)
    assert code == 1 and "it has another seed" in report["faults"][0]


def test_a_shortened_journal_is_a_fault(sweep, capsys):
    (own,) = sweep.folder(sweep.plan.cells[0]).runs.iterdir()
    lines = (own / JOURNAL).read_bytes().splitlines(keepends=True)
    (own / JOURNAL).write_bytes(b"".join(lines[:-1]))
    assert len(collected(sweep, capsys)[1]["faults"]) == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"schema":"sweep-end.v1"}', "\udcff", "[" * 5000])
def test_a_damaged_end_names_the_file_and_what_to_do(sweep, capsys, text):
    folder = sweep.folder(sweep.plan.cells[0])
    (folder.path / "end.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    code, _, err = collected(sweep, capsys)
    assert code == 4 and f"{folder.path}/end.json" in err and "rm " in err and len(err.splitlines()) == 2


@pytest.mark.parametrize("name", ["../../x", "/etc", "", "a" * 16 + "/.."])
def test_an_end_cannot_name_a_run_outside_its_cell(sweep, capsys, name):
    path = sweep.folder(sweep.plan.cells[0]).path / "end.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "run": name}))
    assert "which is no run's id" in collected(sweep, capsys)[1]["faults"][0]


def test_a_cell_does_not_go_on_with_the_run_of_another(sweep, capsys):
    first, last = sweep.plan.cells[0], sweep.plan.cells[2]
    shutil.copytree(sweep.folder(first).path, sweep.folder(last).path)
    (sweep.folder(last).path / "end.json").unlink()
    assert run(["sweep", "cell", str(sweep.path), last.id]) == 4
    assert f"is not the run of cell {last.id}: it has another seed" in capsys.readouterr().err
    assert sweep.folder(last).end() is None


def test_lines_of_starts_that_make_no_sense_stop_nothing(sweep):
    folder = sweep.folder(sweep.plan.cells[0])
    (folder.path / "end.json").unlink()
    (folder.path / "attempts.jsonl").write_bytes(
        b"\xff\n[1]\n" + b"[" * 9000 + b'\n{"event":"start","job":[1]}\n'
    )
    assert len(read_lines(folder.path / "attempts.jsonl")) == 1
    assert folder.state(frozenset()) is CellState.INTERRUPTED


def test_a_cell_that_was_edited_in_the_plan_leaves_its_directory_behind_and_is_told(sweep, capsys):
    plan = json.loads((sweep.path / PLAN).read_bytes())
    plan["cells"][0]["seed"] = 99
    (sweep.path / PLAN).write_text(json.dumps(plan))
    assert run(["sweep", "status", str(sweep.path)]) == 1
    assert f"1 directory in {sweep.path}/cells without a cell in the plan" in capsys.readouterr().err


def test_a_plan_of_another_version_names_its_file(sweep, capsys):
    plan = json.loads((sweep.path / PLAN).read_bytes())
    del plan["slurm"]["srun"]
    (sweep.path / PLAN).write_text(json.dumps(plan))
    assert run(["sweep", "status", str(sweep.path)]) == 4
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {sweep.path}/plan.json: $.slurm: ") and "version of speedrun" in hint


def test_a_clock_that_goes_back_changes_no_state(sweep):
    cell = sweep.plan.cells[2]
    folder = sweep.folder(cell)
    with folder.claimed(cell):
        folder.write_attempt({"event": "start", "time": "2030-01-01T00:00:00+00:00", "job": "7_0"})
        folder.write_attempt({"event": "stop", "time": "2029-01-01T00:00:00+00:00", "code": 130})
        folder.write_attempt({"event": "start", "time": "2028-01-01T00:00:00+00:00", "job": "8_0"})
        assert folder.state(frozenset({"8_0"})) is CellState.RUNNING
    assert folder.state(frozenset()) is CellState.INTERRUPTED
    assert [a["event"] for a in folder.attempts()] == ["start", "stop", "start"]


def test_two_runs_in_one_cell_are_refused(sweep):
    folder = sweep.folder(sweep.plan.cells[0])
    shutil.copytree(folder.run(), folder.runs / ("0" * 16))
    with pytest.raises(IntegrityError, match="has 2 runs, and a cell is one run"):
        folder.run()


def test_a_cell_that_another_launcher_works_on_has_not_ended(sweep):
    ended, missing = sweep.plan.cells[0], sweep.plan.cells[2]
    assert outcome_text(sweep, FinishedCell(ended, 0)) == "ended"
    assert outcome_text(sweep, FinishedCell(missing, 0)) == "has not ended: another process works on it"
    assert outcome_text(sweep, FinishedCell(missing, 5)) == "has not ended: exit code 5"

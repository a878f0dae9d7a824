"""The directory of a sweep: states of cells, Slurm's queue, tables."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest

from kit.core.digest import canonical_json
from kit.core.errors import IntegrityError, PrerequisiteError, UsageError
from kit.core.locks import standing_of
from kit.core.process import OwnerState
from kit.sweep.bounds import EvaluationBound, IdleGpus, bound_cell
from kit.sweep.cell_folder import CellState
from kit.sweep.folder import make_sweep, open_sweep
from kit.sweep.grid import ExpectedTimes, read_grid
from kit.sweep.lines import append_line, read_lines
from kit.sweep.local import FinishedCell, gpu_slots, run_cells
from kit.sweep.results import csv_of, rows_of
from kit.sweep.sbatch import sbatch_scripts
from kit.sweep.slurm import job_parameters, read_queue
from kit.sweep.tables import score_csv, scores_of

GRID = """\
schema = "sweep.v1"
name = "grid"
tasks = ["smoke-1", "3"]
hints = ["0"]
scaffolds = ["flat"]
models = ["scripted"]
seeds = 2
"""
END = {
    "schema": "sweep-end.v1",
    "run": "0" * 16,
    "journal": "0" * 64,
    "winner": 2,
    "time_ms": 5.0,
    "val_loss": 3.2,
    "fsr": 0.5,
    "retimed_ms": None,
    "retimed_fsr": None,
    "statuses": {"valid_improved": 2},
    "spent": {"evaluations": 2, "gpu_hours": 1.0, "usd": 0.0},
}


@pytest.fixture
def sweep(tmp_path):
    (tmp_path / "sweep.toml").write_text(GRID)
    return make_sweep(tmp_path / "s", read_grid(tmp_path / "sweep.toml", "1.0"), "now")


def ended(sweep, cell, **changes):
    folder = sweep.folder(cell)
    with folder.claimed(cell):
        folder.write_attempt({"event": "start", "job": None})
        folder.write_end({**END, "cell": cell.id, **changes})


def test_the_plan_is_read_as_it_was_written_and_belongs_to_one_grid(sweep, tmp_path):
    assert open_sweep(sweep.path) == sweep
    (tmp_path / "sweep.toml").write_text(GRID.replace("seeds = 2", "seeds = 3"))
    with pytest.raises(UsageError, match="another sweep: 4 cells, of which 4 are in this grid of 6"):
        make_sweep(sweep.path, read_grid(tmp_path / "sweep.toml", "1.0"), "later")
    plan = json.loads((sweep.path / "plan.json").read_bytes())
    (sweep.path / "plan.json").write_bytes(canonical_json({**plan, "cells": plan["cells"][1:]}))
    with pytest.raises(IntegrityError, match="expects 4 cells and lists 3"):
        open_sweep(sweep.path)
    with pytest.raises(PrerequisiteError, match="contains no sweep"):
        open_sweep(tmp_path)


def test_a_cell_is_not_started_then_running_then_interrupted_then_ended(sweep):
    cell = sweep.plan.cells[0]
    folder = sweep.folder(cell)
    assert sweep.states()[cell.id] is CellState.NOT_STARTED
    with folder.claimed(cell) as lock:
        assert lock is not None
        folder.write_attempt({"event": "start", "job": None})
        assert sweep.states()[cell.id] is CellState.RUNNING
        with folder.claimed(cell) as second:
            assert second is None
    assert sweep.states()[cell.id] is CellState.INTERRUPTED
    ended(sweep, cell)
    assert sweep.states()[cell.id] is CellState.ENDED
    folder.write_end({**END, "winner": None})
    assert folder.end()["winner"] == 2, "an end is written once"


def test_a_cell_that_ends_while_its_state_is_read_has_ended(sweep, monkeypatch):
    cell = sweep.plan.cells[0]
    folder = sweep.folder(cell)
    folder.path.mkdir(parents=True)
    folder.write_attempt({"event": "start", "job": None})

    def ends_and_looks(lock: Path) -> OwnerState:
        ended(sweep, cell)
        return standing_of(lock)

    monkeypatch.setattr("kit.sweep.cell_folder.standing_of", ends_and_looks)
    assert folder.state() is CellState.ENDED


def test_a_cell_of_a_dead_node_is_interrupted_once_slurm_has_no_job_for_it(sweep, monkeypatch):
    cell = sweep.plan.cells[0]
    folder = sweep.folder(cell)
    with folder.claimed(cell):
        folder.write_attempt({"event": "start", "job": "7_0"})
    lock = json.loads('{"host":"' + "0" * 32 + '","boot":"b","namespace":"n","pid":1,"started":1}')
    (folder.path / "lock").write_bytes(canonical_json(lock))
    assert folder.state() is CellState.RUNNING, "another machine's process may run"
    assert folder.state(frozenset({"7_0"})) is CellState.RUNNING
    assert folder.state(frozenset({"7_1"})) is CellState.INTERRUPTED


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path):
    path = tmp_path / "lines"
    append_line(path, {"a": 1})
    with path.open("ab") as f:
        f.write(b'{"a": 2')
    assert read_lines(path) == ({"a": 1},) and read_lines(tmp_path / "none") == ()


HEADER = "speedrun|ARRAY_JOB_ID|ARRAY_TASK_ID|STATE|NAME"


def table(*rows: str) -> str:
    """What squeue prints: a site's greeting, its header, and its rows."""
    return "\n".join(("Welcome to the cluster", HEADER, *(f"speedrun|{row}" for row in rows), ""))


def test_slurms_queue_says_which_cells_wait_and_finds_a_submission_that_was_cut_off(sweep):
    ids = [cell.id for cell in sweep.plan.cells]
    append_line(sweep.path / "jobs.jsonl", {"token": "t1", "cells": ids[:2]})
    append_line(sweep.path / "jobs.jsonl", {"token": "t1", "job": "7"})
    append_line(sweep.path / "jobs.jsonl", {"token": "t2", "cells": ids[2:]})
    asked = []

    def squeue(argv):
        asked.append(argv)
        rows = ("7|0|RUNNING|t1", "7|1|PENDING|t1", "8|1|PENDING|t2", "9|0|RUNNING|other")
        return table(*rows)

    queue = read_queue(sweep, squeue)
    assert len(asked) == 1 and "t1,t2" in asked[0]
    assert queue.states == {ids[0]: CellState.RUNNING, ids[1]: CellState.QUEUED, ids[3]: CellState.QUEUED}
    assert queue.live == {"7_0", "7_1", "8_1"}
    assert read_lines(sweep.path / "jobs.jsonl")[-1] == {"token": "t2", "job": "8"}
    assert list(sweep.states(queue).values()).count(CellState.NOT_STARTED) == 1
    ended(sweep, sweep.plan.cells[0])
    assert sweep.states(queue)[ids[0]] is CellState.ENDED, "the cell's own record goes first"


def test_a_sweep_that_was_never_submitted_asks_slurm_nothing(sweep):
    assert read_queue(sweep, lambda argv: pytest.fail("asked")).states == {}


def test_jobs_are_never_requeued_by_slurm_and_need_one_node(sweep):
    parameters = job_parameters(sweep, sweep.plan.cells, "t", 3601.0)
    assert parameters["additional_parameters"] == {"no_requeue": True}
    assert (parameters["nodes"], parameters["time"], parameters["job_name"]) == (1, 61, "t")


def test_an_sbatch_script_names_each_cell_once_and_is_cut_into_chunks(sweep, monkeypatch):
    scripts = sbatch_scripts(sweep, sweep.plan.cells, 60.0)
    assert len(scripts) == 1 and "#SBATCH --array=0-3" in scripts[0] and "--no-requeue" in scripts[0]
    assert all(scripts[0].count(cell.id) == 1 for cell in sweep.plan.cells)


class FakeProcess:
    def __init__(self, code: int, polls: int = 1) -> None:
        self.code, self.polls, self.signals = code, polls, []

    def poll(self):
        self.polls -= 1
        return self.code if self.polls < 0 or self.signals else None

    def send_signal(self, sig: int) -> None:
        self.signals.append(sig)

    def kill(self) -> None:
        self.signals.append(9)


def test_cells_run_as_many_at_a_time_as_there_are_slots(sweep, monkeypatch):
    monkeypatch.setattr("kit.sweep.local.POLL_S", 0.0)
    now, most, seen, done = set(), [0], [], []

    def start(_, cell, env):
        now.add(cell.id)
        most[0] = max(most[0], len(now))
        seen.append(env.get("CUDA_VISIBLE_DEVICES"))
        return FakeProcess(code=len(seen) % 2)

    def finished(cell: FinishedCell) -> None:
        now.discard(cell.cell.id)
        done.append(cell.code)

    assert run_cells(sweep, sweep.plan.cells, ("0,1", "2,3"), lambda: False, finished, start)
    assert most == [2] and sorted(done) == [0, 0, 1, 1] and set(seen) == {"0,1", "2,3"}


def test_a_cancelled_sweep_lets_its_cells_end_and_starts_no_other(sweep, monkeypatch):
    monkeypatch.setattr("kit.sweep.local.POLL_S", 0.0)
    processes = []

    def start(*_):
        processes.append(FakeProcess(code=130, polls=10**6))
        return processes[-1]

    assert not run_cells(sweep, sweep.plan.cells, ("",), lambda: bool(processes), lambda _: None, start)
    assert len(processes) == 1 and processes[0].signals == [15]


def test_gpus_are_shared_out_without_overlap():
    assert gpu_slots(list("abcd"), 2, 2) == ("a,b", "c,d") and gpu_slots((), 0, 3) == ("", "", "")
    with pytest.raises(UsageError, match="3 cells at a time need 6 GPUs"):
        gpu_slots(list("abcd"), 2, 3)


def test_every_expected_cell_counts_in_the_tables(sweep):
    ended(sweep, sweep.plan.cells[0], fsr=0.8)
    ended(sweep, sweep.plan.cells[1], fsr=-4.5)
    ended(sweep, sweep.plan.cells[2], winner=None, time_ms=None, val_loss=None, fsr=None)
    rows = rows_of(sweep, sweep.states())
    table = list(csv.DictReader(io.StringIO(csv_of(rows))))
    assert [row["state"] for row in table] == ["ended", "ended", "ended", "not started"]
    assert [row["fsr"] for row in table] == ["0.8", "-4.5", "0.0", ""]
    (score,) = scores_of(rows)
    assert (score.cells, score.ended, score.reached) == (4, 3, 2)
    assert score.mean.value == pytest.approx((0.8 + 0 + 0 + 0) / 4), "negative and missing count as 0"
    scored = list(csv.DictReader(io.StringIO(score_csv(rows))))
    assert [row["task"] for row in scored] == ["3", "3"], "smoke tasks are not scored with the paper's"
    assert {row["val_loss"] for row in scored} == {""}


def test_a_winner_that_was_not_confirmed_by_its_new_timing_scores_0(tmp_path):
    (tmp_path / "sweep.toml").write_text(GRID + "retime = 3\n")
    sweep = make_sweep(tmp_path / "s", read_grid(tmp_path / "sweep.toml", "1.0"), "now")
    ended(sweep, sweep.plan.cells[0], fsr=0.9, retimed_fsr=None)
    ended(sweep, sweep.plan.cells[1], fsr=0.9, retimed_fsr=0.4)
    assert [row.fsr for row in rows_of(sweep, sweep.states())][:2] == [0.0, 0.4]


def test_the_bounds_count_repairs_reruns_and_waiting_gpus(sweep):
    from dataclasses import replace

    cell = replace(sweep.plan.cells[-1], nodes=4, controls=1, retime=2, budget="repairs=0")
    expected = ExpectedTimes(call_s=10.0, start_s=30.0)
    bound = bound_cell(cell, EvaluationBound(wall_s=100.0, gpus=8), expected)
    assert (bound.evaluations, bound.calls, bound.retime_runs) == (5, 4, 12)
    assert bound.gpu_seconds == (5 + 12) * 100 * 8
    assert bound.idle == IdleGpus(one_job=4 * 10 * 8, one_job_repairs=4 * 10 * 8, two_jobs=17 * 30 * 8)
    repaired = bound_cell(replace(cell, budget="repairs=3"), EvaluationBound(100.0, 8), expected)
    assert repaired.idle.one_job_repairs == 4 * 4 * 10 * 8 and repaired.idle.one_job == 4 * 10 * 8
    assert bound.wall_s == (5 + 12) * 100 + 40 + 900
    limits = "gpu-hours=0.1,evaluations=2"
    limited = bound_cell(replace(cell, budget=limits), EvaluationBound(100.0, 8), expected)
    assert limited.evaluations == 2 and limited.gpu_seconds == 360 + 12 * 800


def test_a_process_of_a_cell_is_this_interpreter(sweep):
    from kit.sweep.folder import cell_argv

    argv = cell_argv(Path("s"), sweep.plan.cells[0])
    assert os.path.isabs(argv[0]) and argv[-1] == sweep.plan.cells[0].id

"""What is asked of Slurm, and what is made of odd answers."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from kit.core.errors import IntegrityError, PrerequisiteError, RunError
from kit.sweep import slurm
from kit.sweep.cell_folder import CellState
from kit.sweep.folder import make_sweep
from kit.sweep.grid import read_grid
from kit.sweep.lines import append_line, read_lines
from kit.sweep.sbatch import sbatch_scripts
from kit.sweep.slurm import read_queue, run_command, submit

pytest.importorskip("submitit")

GRID = """\
schema = "sweep.v1"
name = "grid"
tasks = ["smoke-1"]
hints = ["0"]
scaffolds = ["flat"]
models = ["scripted"]
seeds = 5

[slurm]
chunk = 2
"""
HEADER = "speedrun|ARRAY_JOB_ID|ARRAY_TASK_ID|STATE|NAME\n"


@pytest.fixture
def sweep(tmp_path):
    (tmp_path / "sweep.toml").write_text(GRID)
    return make_sweep(tmp_path / "s", read_grid(tmp_path / "sweep.toml", "1.0"), "now")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put a program on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name: str, text: str):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
        return folder / name

    return make


def submitted(sweep):
    append_line(sweep.path / "jobs.jsonl", {"token": "t1", "cells": [c.id for c in sweep.plan.cells]})


@pytest.mark.parametrize(
    "printed", ["", "noise\n", HEADER + "speedrun|7|0|RUNNING\n", HEADER + "speedrun|7|0|RUNNING|a|b\n"]
)
def test_cells_are_not_submitted_again_because_squeue_prints_something_else(sweep, printed):
    submitted(sweep)
    with pytest.raises(RunError, match="squeue printed no table of jobs"):
        read_queue(sweep, lambda argv: printed)


def test_an_empty_table_means_that_no_job_is_left(sweep):
    submitted(sweep)
    assert read_queue(sweep, lambda argv: HEADER).states == {}


def test_an_index_that_no_cell_has_is_left_out(sweep):
    submitted(sweep)
    queue = read_queue(sweep, lambda argv: HEADER + "speedrun|7|99|RUNNING|t1\nspeedrun|7|1|WEIRD|t1\n")
    assert queue.states == {sweep.plan.cells[1].id: CellState.RUNNING}


def test_many_submissions_are_asked_for_in_parts(sweep, monkeypatch):
    monkeypatch.setattr(slurm, "TOKENS_AT_ONCE", 2)
    asked = []
    for number in range(5):
        append_line(sweep.path / "jobs.jsonl", {"token": f"t{number}", "cells": []})
    read_queue(sweep, lambda argv: asked.append(argv[3]) or HEADER)
    assert asked == ["t0,t1", "t2,t3", "t4"]


def test_a_list_of_jobs_that_was_edited_is_refused(sweep):
    append_line(sweep.path / "jobs.jsonl", {"token": "t1", "cells": 7})
    with pytest.raises(IntegrityError, match="has a line that `sweep run` did not write"):
        read_queue(sweep, lambda argv: HEADER)


def test_an_squeue_that_hangs_is_ended(program, monkeypatch):
    monkeypatch.setattr(slurm, "SQUEUE_S", 0.5)
    program("squeue", "exec sleep 600")
    with pytest.raises(RunError, match="squeue did not answer within"):
        run_command(("squeue",))


def test_squeue_prints_bytes_that_are_no_text(program):
    program("squeue", r"printf '\377\n'")
    assert run_command(("squeue",)) == "�\n"


def test_the_users_filters_of_squeue_hide_no_job(program, monkeypatch):
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    program("squeue", 'echo "${SQUEUE_STATES-none}"')
    assert run_command(("squeue",)) == "none\n"


def test_without_slurm_its_client_is_missing(program, tmp_path, monkeypatch):
    program("squeue", "exit 0").chmod(stat.S_IRUSR)
    with pytest.raises(PrerequisiteError, match="squeue was not found"):
        run_command((str(tmp_path / "bin" / "squeue"),)) if os.geteuid() else run_command(("no-squeue",))


def fake_sbatch(program, tmp_path, more: str = "") -> None:
    program("srun", "exit 0")
    program(
        "sbatch",
        f'for last; do :; done; echo "$@" >> {tmp_path}/calls; cat "$last" >> {tmp_path}/scripts\n'
        f'{more}\necho "Submitted batch job $(wc -l < {tmp_path}/calls)"',
    )


def test_each_array_names_its_cells_and_needs_no_other_file(sweep, program, tmp_path, monkeypatch):
    monkeypatch.setenv("SBATCH_JOB_NAME", "mine")
    fake_sbatch(program, tmp_path)
    assert submit(sweep, sweep.plan.cells, 600.0, lambda: "now") == ["1", "2", "3"]
    calls = (tmp_path / "calls").read_text().splitlines()
    lines = read_lines(sweep.path / "jobs.jsonl")
    tokens = [line["token"] for line in lines if "cells" in line]
    assert [call.split()[:2] for call in calls] == [[f"--job-name={t}", "--no-requeue"] for t in tokens]
    scripts = (tmp_path / "scripts").read_text()
    assert scripts.count("#SBATCH --array=0-1%2") == 2 and scripts.count("unset SLURM_ARRAY_JOB_ID") == 1
    assert all(scripts.count(cell.id) == 1 for cell in sweep.plan.cells)
    logs = re.findall(r"#SBATCH --output=(\S+)", scripts)
    assert len(logs) == 3 and all(Path(log).parent.is_dir() for log in logs), "Slurm makes no directory"
    assert not list(sweep.path.rglob("*.pkl"))


def test_a_script_runs_the_cell_of_its_index(sweep, program, tmp_path):
    fake_sbatch(program, tmp_path)
    submit(sweep, sweep.plan.cells[:2], 600.0, lambda: "now")
    program("srun", 'for last; do :; done; echo "$last"')
    for index, cell in enumerate(sweep.plan.cells[:2]):
        env = {**os.environ, "SLURM_ARRAY_TASK_ID": str(index)}
        done = subprocess.run(
            ["bash", tmp_path / "scripts"], env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == cell.id


def test_a_sites_container_starts_the_cell(tmp_path, program):
    more = "srun = ['--container-image=/images/a b.sqsh']\nprefix = ['apptainer', 'exec', 'a b.sif']\n"
    (tmp_path / "sweep.toml").write_text(GRID + more)
    sweep = make_sweep(tmp_path / "s", read_grid(tmp_path / "sweep.toml", "1.0"), "now")
    fake_sbatch(program, tmp_path)
    submit(sweep, sweep.plan.cells[:2], 600.0, lambda: "now")
    (exported, *_) = sbatch_scripts(sweep, sweep.plan.cells[:2], 600.0)
    for script in ((tmp_path / "scripts").read_text(), exported):
        (line,) = [line for line in script.splitlines() if "srun " in line]
        words = shlex.split(line)
        assert words.index("--container-image=/images/a b.sqsh") < words.index("apptainer")
        assert words[words.index("apptainer") + 2] == "a b.sif" and words[-2] == str(sweep.path)


def test_an_exported_script_logs_below_a_path_with_blanks_and_percent_signs(tmp_path):
    (tmp_path / "sweep.toml").write_text(GRID)
    sweep = make_sweep(tmp_path / "50 % of #1", read_grid(tmp_path / "sweep.toml", "1.0"), "now")
    (script, *_) = sbatch_scripts(sweep, sweep.plan.cells[:1], 600.0)
    (line,) = [line for line in script.splitlines() if "--output=" in line]
    output = f"{tmp_path}/50 %% of #1/slurm/%A_%a.log"
    assert shlex.split(line.removeprefix("#SBATCH ")) == [f"--output={output}"]


def test_a_path_in_which_slurm_would_replace_signs_is_refused_before_a_job(tmp_path, program):
    (tmp_path / "sweep.toml").write_text(GRID)
    sweep = make_sweep(tmp_path / "50%job", read_grid(tmp_path / "sweep.toml", "1.0"), "now")
    fake_sbatch(program, tmp_path)
    with pytest.raises(PrerequisiteError, match="has a %, which Slurm replaces") as refused:
        submit(sweep, sweep.plan.cells, 600.0, lambda: "now")
    assert refused.value.hint.endswith(f"speedrun sweep export {tmp_path}/50%job --sbatch FILE")
    assert not (tmp_path / "calls").exists() and not (sweep.path / "jobs.jsonl").exists()


def test_what_sbatch_refuses_is_told_and_leaves_the_submission_open(sweep, program, tmp_path):
    fake_sbatch(program, tmp_path, "printf 'sbatch: error: a\\nInvalid account' >&2; exit 1")
    with pytest.raises(RunError, match=r"sbatch refused the job: .*error: a; Invalid account"):
        submit(sweep, sweep.plan.cells, 600.0, lambda: "now")
    assert read_queue(sweep, lambda argv: HEADER).states == {}


@pytest.mark.parametrize(("limit", "sizes"), [("1001", [2, 2, 1]), ("1", [1] * 5), ("0", [1] * 5)])
def test_arrays_keep_below_the_limit_of_the_cluster(sweep, program, tmp_path, limit, sizes):
    fake_sbatch(program, tmp_path)
    program("scontrol", f"echo 'MaxArraySize            = {limit}'")
    assert len(submit(sweep, sweep.plan.cells, 600.0, lambda: "now")) == len(sizes)
    lines = read_lines(sweep.path / "jobs.jsonl")
    assert [len(line["cells"]) for line in lines if "cells" in line] == sizes


def test_a_cluster_that_does_not_say_its_limit_gets_the_chunks_of_the_sweep(sweep):
    def fail(argv):
        raise RunError("no")

    assert slurm.most_cells(sweep, fail) == slurm.most_cells(sweep, lambda argv: "noise") == 2


def test_two_launchers_do_not_submit_at_the_same_time(sweep):
    said = "another process submits cells of"
    with sweep.submitting(), pytest.raises(PrerequisiteError, match=said), sweep.submitting():
        pass
    with sweep.submitting():
        pass

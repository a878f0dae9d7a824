"""A sweep on a real Slurm cluster: cells are killed, requeued and cancelled, and the launcher dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

import pytest
from own_slurm import MISSING, PATH, OwnSlurm, own_slurm

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
pytest.importorskip("submitit")

GRID = """\
schema = "sweep.v1"
name = "twelve"
tasks = ["smoke-1", "smoke-2", "smoke-3"]
hints = ["0", "1"]
scaffolds = ["flat"]
models = ["scripted"]
seeds = 2
nodes = 20
answers = "answers.toml"

[places]
store = "{store}"
keys = "{keys}"

[slurm]
memory = "100M"
time = "50m"
prefix = ["{python}", "{program}"]
"""
ANSWERS = """\
schema = "scripted-answers.v1"

[[answer]]
text = "I have no idea."
"""
"""No answer can be applied, so a cell makes its calls and no evaluation."""
WAITS = """\
import contextlib, runpy, sys, time
from pathlib import Path
from kit.agent.llm.scripted import ScriptedTransport
gate, answer = Path(__file__).parent / "gate", ScriptedTransport.call

def call(*arguments, **named):
    with contextlib.suppress(FileNotFoundError):
        (gate / sys.argv[-1]).touch()
    while gate.is_dir():
        time.sleep(0.05)
    return answer(*arguments, **named)

ScriptedTransport.call = call
sys.argv = sys.argv[sys.argv.index("kit.cli") :]
runpy.run_module("kit.cli", run_name="__main__", alter_sys=True)
"""
"""Runs a cell. As long as there is a directory `gate`, it leaves its name there and waits for its answer."""
TRUE_SBATCH = f'{shutil.which("sbatch", path=PATH)} "$@"'


@pytest.fixture
def slurm(tmp_path):
    with own_slurm(_folder(tmp_path, "slurm")) as cluster:
        yield cluster


def _folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


def speedrun(slurm: OwnSlurm, *argv: str, code: int = 0) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "kit.cli", *argv, "--json"],
        env=slurm.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def launcher_killed(slurm: OwnSlurm, folder: Path, sbatch: str, *argv: str) -> None:
    """Run a command whose process is killed by what it takes for sbatch, before or after the true one."""
    program = folder / "sbatch"
    program.write_text(f"#!/bin/sh\n{sbatch}\nkill -KILL $PPID\n")
    program.chmod(0o755)
    env = {**slurm.env, "PATH": f"{folder}:{slurm.env['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", "kit.cli", *argv], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    program.unlink()


def states(slurm: OwnSlurm, sweep: Path) -> dict[str, str]:
    """The state of each cell, from `sweep status`, which exits 1 until all have ended."""
    done = subprocess.run(
        [sys.executable, "-m", "kit.cli", "sweep", "status", str(sweep), "--cells", "--json"],
        env=slurm.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)["cells"]


def grid(folder: Path) -> Path:
    (folder / "answers.toml").write_text(ANSWERS)
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    store = Path(cache) / "speedrun-kit"
    path = folder / "sweep.toml"
    (folder / "cell.py").write_text(WAITS)
    program = folder / "cell.py"
    path.write_text(GRID.format(store=store, keys=folder / "keys", python=sys.executable, program=program))
    return path


def totals(sweep: Path) -> dict[str, tuple[object, ...]]:
    """What each cell came to: journal lines that count, tokens and evaluations; not times."""
    found = {}
    for end in sorted(sweep.glob("cells/*/end.json")):
        document = json.loads(end.read_bytes())
        spent = document["spent"]
        found[end.parent.name] = (document["statuses"], document["winner"], spent["evaluations"])
    return found


def starts(sweep: Path, cell: str) -> list[dict]:
    lines = (sweep / "cells" / cell / "attempts.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == "start"]


def until(holds, seconds: float = 900.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_second_run_submits_exactly_the_missing_cells(tmp_path, slurm):
    file = grid(tmp_path)
    here = ("sweep", "run", str(file), "--out")
    undisturbed = tmp_path / "undisturbed" / "twelve"
    speedrun(slurm, *here, str(undisturbed.parent), "--slurm")
    until(lambda: set(states(slurm, undisturbed).values()) == {"ended"})

    disturbed, gate = tmp_path / "disturbed" / "twelve", _folder(tmp_path, "gate")
    # the launcher is killed after sbatch, before it records the job
    launcher_killed(slurm, tmp_path, TRUE_SBATCH, *here, str(disturbed.parent), "--slurm")
    assert _jobs(disturbed) == []
    (job,) = set(slurm.run("squeue", "-h", "-o", "%F").split())
    # one cell is cancelled in the queue, one is killed while it works, and one is requeued by hand
    slurm.run("scancel", f"{job}_11")
    killed = _waiting(gate)
    os.kill(_pid(disturbed, killed), signal.SIGKILL)
    # the controller is restarted while cells wait and run; a killed one forgets the jobs of its last seconds
    slurm.stop("slurmctld")
    slurm.start_controller()
    requeued = _waiting(gate, {killed})
    task = starts(disturbed, requeued)[-1]["job"]
    refused = subprocess.run(["scontrol", "requeue", task], env=slurm.env, capture_output=True, check=False)
    assert refused.returncode != 0, "timed work is not requeued unless the user allows it"
    slurm.run("scontrol", "update", f"job={task}", "requeue=1")
    slurm.run("scontrol", "requeue", task)
    gate.rename(tmp_path / "open")
    until(lambda: not slurm.run("squeue", "-h"))
    before = states(slurm, disturbed)
    missing = {name for name, state in before.items() if state != "ended"}
    assert len(missing) >= 2 and killed in missing and before[killed] == "interrupted"
    second = speedrun(slurm, *here, str(disturbed.parent), "--slurm")
    assert set(second["started"]) == missing
    until(lambda: set(states(slurm, disturbed).values()) == {"ended"})
    assert totals(disturbed) == totals(undisturbed) and len(totals(disturbed)) == 12
    assert all(len(list((p / "runs").iterdir())) == 1 for p in (disturbed / "cells").iterdir())
    keys = ("--keys", str(tmp_path / "keys"))
    collected = speedrun(slurm, "sweep", "collect", str(disturbed), *keys, "--verify")
    assert (collected["ended"], collected["missing"], collected["faults"]) == (12, [], [])


def test_a_launcher_that_is_killed_around_sbatch_neither_doubles_nor_loses_a_cell(tmp_path, slurm):
    file = grid(tmp_path)
    sweep = tmp_path / "sweeps" / "twelve"
    slurm.run("scontrol", "update", "nodename=node1", "state=drain", "reason=test")
    argv = ("sweep", "run", str(file), "--out", str(sweep.parent), "--slurm")
    launcher_killed(slurm, tmp_path, "", *argv)
    assert set(states(slurm, sweep).values()) == {"not started"} and slurm.run("squeue", "-h") == ""
    launcher_killed(slurm, tmp_path, TRUE_SBATCH, *argv)
    assert _jobs(sweep) == []
    assert speedrun(slurm, *argv)["started"] == []
    assert set(states(slurm, sweep).values()) == {"queued"}
    (job,) = set(slurm.run("squeue", "-h", "-o", "%F").split())
    assert _jobs(sweep) == [job]
    assert slurm.run("squeue", "-h", "-r", "-o", "%i").count("\n") == 12
    # the job of the killed launcher works as any other
    slurm.run("scontrol", "update", "nodename=node1", "state=resume")
    until(lambda: set(states(slurm, sweep).values()) == {"ended"})
    ended = sorted(cell.name for cell in (sweep / "cells").iterdir())
    assert len(ended) == 12 and all(len(starts(sweep, cell)) == 1 for cell in ended)
    assert {starts(sweep, cell)[0]["job"] for cell in ended} == {f"{job}_{i}" for i in range(12)}


def test_cells_that_are_cancelled_in_the_queue_or_at_work_are_missing(tmp_path, slurm):
    file = grid(tmp_path)
    sweep = tmp_path / "sweeps" / "twelve"
    slurm.run("scontrol", "update", "nodename=node1", "state=drain", "reason=test")
    argv = ("sweep", "run", str(file), "--out", str(sweep.parent), "--slurm")
    assert len(speedrun(slurm, *argv)["started"]) == 12
    slurm.run("scancel", _jobs(sweep)[-1])
    until(lambda: not slurm.run("squeue", "-h"))
    assert set(states(slurm, sweep).values()) == {"not started"}
    # a cell that is cancelled while it works ends with its record before Slurm kills it
    slurm.run("scontrol", "update", "nodename=node1", "state=resume")
    gate = _folder(tmp_path, "gate")
    assert len(speedrun(slurm, *argv)["started"]) == 12
    cell = _waiting(gate)
    slurm.run("scancel", _jobs(sweep)[-1])
    gate.rename(tmp_path / "open")
    until(lambda: not slurm.run("squeue", "-h"))
    last = json.loads((sweep / "cells" / cell / "attempts.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["code"]) == ("stop", 130)
    assert states(slurm, sweep)[cell] == "interrupted"


def test_arrays_keep_below_the_limit_and_two_launchers_submit_each_cell_once(tmp_path):
    file = grid(tmp_path)
    sweep = tmp_path / "sweeps" / "twelve"
    argv = ("sweep", "run", str(file), "--out", str(sweep.parent), "--slurm", "--json")
    with own_slurm(_folder(tmp_path, "slurm"), more="MaxArraySize=5\n") as slurm:
        slurm.run("scontrol", "update", "nodename=node1", "state=drain", "reason=test")
        both = [
            subprocess.Popen(
                [sys.executable, "-m", "kit.cli", *argv], env=slurm.env, stdout=-1, stderr=-1, text=True
            )
            for _ in range(2)
        ]
        outputs = [launcher.communicate() for launcher in both]
        started = [json.loads(out).get("started", []) for out, _ in outputs]
        assert sum(map(len, started)) == 12, outputs
        for launcher, (_, err) in zip(both, outputs, strict=True):
            assert launcher.returncode == 0 or "another process submits cells" in err
        tasks = slurm.run("squeue", "-h", "-r", "-o", "%F").split()
        assert sorted(map(tasks.count, set(tasks))) == [2, 5, 5]
        assert set(states(slurm, sweep).values()) == {"queued"}


def _jobs(sweep: Path) -> list[str]:
    """The jobs that the launcher recorded."""
    lines = map(json.loads, (sweep / "jobs.jsonl").read_text().splitlines())
    return [line["job"] for line in lines if "job" in line]


def _waiting(gate: Path, but: Collection[str] = ()) -> str:
    """Wait for a cell that works and waits at the gate, and return it."""
    until(lambda: {path.name for path in gate.iterdir()} - {*but})
    return min({path.name for path in gate.iterdir()} - {*but})


def _pid(sweep: Path, cell: str) -> int:
    return int(starts(sweep, cell)[-1]["pid"])

"""Two launchers of one user give their cells the same GPUs; the turns of the evaluations keep them apart."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter

import pytest

from kit.cli.places import places
from kit.sandbox.turn import turn_folder
from kit.sweep.folder import make_sweep
from kit.sweep.grid import read_grid
from kit.sweep.local import gpu_slots, run_cells

GRID = """\
schema = "sweep.v1"
name = "{name}"
tasks = ["smoke-1"]
hints = ["0"]
scaffolds = ["flat"]
models = ["scripted"]
seeds = 4
"""
CELL = """
import os, sys, time
from pathlib import Path
from kit.sandbox.turn import take_turn
gpu = os.environ["CUDA_VISIBLE_DEVICES"]
with take_turn(Path(sys.argv[1]), [gpu], lambda: False):
    with open(sys.argv[2], "a") as f:
        f.write(f"begin {gpu} {os.getpid()}\\n")
        f.flush()
        time.sleep(0.1)
        f.write(f"end {gpu} {os.getpid()}\\n")
"""
"""What an evaluation does, as seen by another one: it holds the turn of its GPUs while a guest has them."""


@pytest.fixture
def sweeps(tmp_path):
    made = []
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(GRID.format(name=name))
        made.append(make_sweep(tmp_path / name, read_grid(tmp_path / f"{name}.toml", "1.0"), "now"))
    return made


def test_cells_of_two_launchers_never_have_one_gpu_at_a_time(sweeps, tmp_path):
    slots = gpu_slots(["GPU-0", "GPU-1"], 1, 2)
    (tmp_path / "state").mkdir()
    turns, log = tmp_path / "state" / "turns", tmp_path / "log"
    codes = []

    def start(sweep, cell, own):
        command = [sys.executable, "-c", CELL, str(turns), str(log)]
        return subprocess.Popen(command, env={**os.environ, **own})

    def launch(sweep):
        run_cells(sweep, sweep.plan.cells, slots, lambda: False, lambda done: codes.append(done.code), start)

    launchers = [threading.Thread(target=launch, args=(sweep,)) for sweep in sweeps]
    for launcher in launchers:
        launcher.start()
    for launcher in launchers:
        launcher.join()
    assert codes == [0] * 8
    holder, used = {}, Counter()
    for line in log.read_text().splitlines():
        event, gpu, process = line.split()
        if event == "begin":
            assert holder.setdefault(gpu, process) == process, f"two cells had {gpu} at a time"
            used[gpu] += 1
        else:
            assert holder.pop(gpu) == process
    assert set(used) == {"GPU-0", "GPU-1"} and used.total() == 8


def test_the_command_of_a_cell_evaluates_with_turns(tmp_path):
    """A cell is an `agent run` of this process; `test_full_profile` shows that its evaluations wait."""
    assert places(tmp_path, None, tmp_path).turns == turn_folder()

"""
How long it takes to plan the paper's grid, and to tell the state of its 6,840 cells.

    python benchmarks/sweeps.py [--rounds 3]

Starts `speedrun` as a user does, on a directory in which every cell has ended. Prints wall seconds, CPU
seconds, and ratios to the targets; on a machine that does other work, only CPU time counts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from kit import __version__
from kit.sweep.folder import make_sweep
from kit.sweep.grid import read_grid

TARGETS_S = {"plan": 10.0, "status": 5.0}
GRID = """\
schema = "sweep.v1"
name = "paper"
tasks = ["paper"]
hints = ["0", "1", "2", "3", "1,2", "1,2,3"]
scaffolds = ["flat", "tree", "forest", "aide", "multi-aide"]
models = ["scripted"]
seeds = 12
"""
END = {"schema": "sweep-end.v1", "run": "0" * 16, "winner": None, "statuses": {}, "spent": {}}


def timed(argv: Sequence[str]) -> tuple[float, float]:
    """Run a command and return its wall seconds and its CPU seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-m", "kit.cli", *argv], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, cpu_s


def show(name: str, argv: Sequence[str], rounds: int) -> None:
    """Time a command several times; print the median and its ratio to the target."""
    times = [timed(argv) for _ in range(rounds)]
    wall_s, cpu_s = (statistics.median(column) for column in zip(*times, strict=True))
    print(
        f"sweep {name}, 6,840 cells: {wall_s:.1f} s, {wall_s / TARGETS_S[name]:.2f} of the target of "
        f"{TARGETS_S[name]:.0f} s; {cpu_s:.1f} s of CPU; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def main() -> None:
    """Make the sweep in a temporary directory and time both commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="speedrun-bench-") as made:
        file = Path(made) / "sweep.toml"
        file.write_text(GRID)
        sweep = make_sweep(Path(made) / "paper", read_grid(file, __version__), "2026-01-01T00:00:00+00:00")
        for cell in sweep.plan.cells:
            folder = sweep.folder(cell).path
            folder.mkdir(parents=True)
            (folder / "attempts.jsonl").write_text('{"event":"start"}\n')
            (folder / "end.json").write_text(json.dumps({**END, "cell": cell.id}))
        show("plan", ("sweep", "plan", str(file)), rounds)
        show("status", ("sweep", "status", str(sweep.path)), rounds)


if __name__ == "__main__":
    main()

"""
How long smoke evaluations take: the first one from an empty store, the second one, and a quick trial.

    python benchmarks/evaluations.py [--runtime runc] [--rounds 3] [--store DIRECTORY] [--mirror DIRECTORY]

Starts `speedrun` as a user does. Prints wall seconds, CPU seconds of all processes that were waited for,
exit codes, and the load: on a machine that does other work, only CPU time and ratios count. With `--store`,
an existing store is used, and there is no first evaluation.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TARGETS_S = {"first": 60.0, "second": 15.0, "quick": 10.0}
"""Wall seconds on a machine of two cores that does nothing else."""


@dataclass(frozen=True)
class Timed:
    """Seconds of one command."""

    wall_s: float
    cpu_s: float
    code: int


def timed(argv: Sequence[str]) -> Timed:
    """Run a command and return its times; its messages go to stderr."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([sys.executable, "-m", "kit.cli", *argv], stdout=subprocess.DEVNULL, check=False)
    wall_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timed(wall_s, cpu_s, done.returncode)


def show(name: str, times: Sequence[Timed]) -> None:
    """Print the median of one kind of command, and its ratio to the target."""
    wall_s = statistics.median(t.wall_s for t in times)
    cpu_s = statistics.median(t.cpu_s for t in times)
    codes = ", ".join(str(code) for code in sorted({t.code for t in times}))
    print(
        f"{name} evaluation: {wall_s:.1f} s, {wall_s / TARGETS_S[name]:.2f} of the target of "
        f"{TARGETS_S[name]:.0f} s; {cpu_s:.1f} s of CPU; exit codes {codes}; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def main() -> None:
    """Evaluate, and print one line for each kind of evaluation."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runtime", default="runc", choices=["runc", "docker", "podman"])
    p.add_argument("--rounds", type=int, default=3, help="second evaluations and quick trials")
    p.add_argument("--store", type=Path)
    p.add_argument("--mirror", type=Path)
    a = p.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{platform.machine()}, {cores} cores, Linux {platform.release()}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="speedrun-bench-") as folder:
        store = a.store or Path(folder) / "store"
        argv = ["eval", "--record", "3", "--profile", "smoke", "--runtime", a.runtime]
        argv += ["--store", str(store), "--out", str(Path(folder) / "runs")]
        argv += ["--mirror", str(a.mirror)] if a.mirror else []
        if a.store is None:
            show("first", [timed(argv)])
        show("second", [timed(argv) for _ in range(a.rounds)])
        show("quick", [timed([*argv, "--quick"]) for _ in range(a.rounds)])


if __name__ == "__main__":
    main()

"""Faults of time: a wall clock that is set back, and very slow guests."""

from __future__ import annotations

import killing
from fault import QUICK, Fault, FaultOutcome, ended, one_run
from workbench import Bench

from kit.result.keys import trusted
from kit.result.verify import open_bundle


def clock_set_back(bench: Bench) -> FaultOutcome:
    """Set the wall clock back by a year during a run."""
    out = bench.out()
    done = ended(bench, bench.command(out, "clock", script=QUICK))
    wrong = [*done.wrong(1), *one_run(bench, out)]
    p = open_bundle(out / killing.reserved(out)[0], trusted(bench.keys)).predicate
    took = p.observations.wall_s
    if not 0 < took < 60:
        wrong.append(f"{took} s")
    return FaultOutcome(
        "The wall clock is set back by a year during a run",
        f"deadlines and times use the monotonic clock: {took:.1f} s; the record verifies and says {p.run.started_at[:10]}",
        tuple(wrong),
    )  # fmt: skip


def slow_guest(bench: Bench) -> FaultOutcome:
    """Run guests that print slowly or never end a line: only a deadline may end them."""
    steady = "import time\nfor s in range(0, 11):\n    print(f'step:{s}/10 train_time:{s}ms step_avg:1.00ms', flush=True); time.sleep(1)\n"
    drip = "import sys, time\nwhile True:\n    sys.stdout.write('.'); sys.stdout.flush(); time.sleep(0.2)\n"
    out = bench.out()
    patient = ended(bench, bench.command(out, "-", "kill", "--stall-deadline", "5", script=steady))
    wrong = [*patient.wrong(1), *one_run(bench, out)]
    out = bench.out()
    ended_by = ended(bench, bench.command(out, "-", "kill", "--start-deadline", "3", script=drip))
    wrong += [*ended_by.wrong(1), *one_run(bench, out, ("timed_out",))]
    p = open_bundle(out / killing.reserved(out)[0], trusted(bench.keys)).predicate
    if not 3 <= p.observations.wall_s < 4:
        wrong.append(f"ended after {p.observations.wall_s} s")
    return FaultOutcome(
        "A very slow guest",
        f"a guest that prints a line each second for 11 s completes; one that never ends its first line is killed by the start deadline of 3 s at {p.observations.wall_s:.2f} s",
        tuple(wrong),
    )  # fmt: skip


FAULTS = (Fault(clock_set_back), Fault(slow_guest))

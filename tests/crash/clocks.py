"""A wall clock that goes back, and guests that take their time."""

from __future__ import annotations

import killing
from fault import QUICK, Fault, Found, ended, one_run
from workbench import Bench

from kit.result.keys import trusted
from kit.result.verify import open_bundle


def clock_set_back(bench: Bench) -> Found:
    """The wall clock goes back a year while the run is on."""
    out = bench.out()
    done = ended(bench, bench.command(out, "clock", script=QUICK))
    wrong = [*done.wrong(1), *one_run(bench, out)]
    p = open_bundle(out / killing.reserved(out)[0], trusted(bench.keys)).predicate
    took = p.observations.wall_s
    if not 0 < took < 60:
        wrong.append(f"{took} s")
    return Found(
        "The wall clock is set back by a year during a run",
        f"deadlines and times are the monotonic clock's: {took:.1f} s; the record verifies and says {p.run.started_at[:10]}",
        tuple(wrong),
    )  # fmt: skip


def slow_guest(bench: Bench) -> Found:
    """A guest prints nothing for long, or a line a second: only the clocks that were set end it."""
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
    return Found(
        "A guest that is very slow",
        f"a line each second for 11 s is let be; one that never ends its first line is ended by the start clock of 3 s at {p.observations.wall_s:.2f} s",
        tuple(wrong),
    )  # fmt: skip


FAULTS = (Fault(clock_set_back), Fault(slow_guest))

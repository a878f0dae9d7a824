"""Show why a run missed a deadline: its phases, the load of the machine, and the flag that raises it."""

from __future__ import annotations

import math

from kit.cli.terminal import note
from kit.result.predicate import Predicate
from kit.values.run_result import RunStatus
from kit.values.run_spec import Phase

PHASES = {
    Phase.START: "start",
    Phase.WARMUP: "warm-up",
    Phase.TRAINING: "training",
    Phase.TEARDOWN: "teardown",
}
BUSY = 1.0
"""Load average per core above which processes wait for a core, if the run itself would leave one free."""
RAISED = 3
"""The deadline that a hint names is this many times the missed one."""


def show_missed_deadline(p: Predicate, start_load: float | None, end_load: float | None) -> None:
    """
    Show the phases, the load average per core, and the flag to raise the deadline that ended a run.

    Prints nothing if no deadline ended it. A load is None if it is unknown.
    """
    missed = _missed(p)
    if missed is None:
        return
    flag, seconds = missed
    spent = ", ".join(f"{PHASES[t.phase]} {t.seconds:.1f} s" for t in p.observations.phases)
    note(f"phases: {spent}; missed: --{flag}-deadline, {seconds:g} s")
    loads = [load for load in (start_load, end_load) if load is not None]
    if loads:
        note(f"load average per core: {_load(start_load)} at the start, {_load(end_load)} at the end")
    raised = f"--{flag}-deadline {math.ceil(seconds * RAISED)}"
    if max(loads, default=0.0) > BUSY:
        note(f"hint: this machine is busy: run again when other programs have ended, or with {raised}")
    else:
        note(f"hint: if the script only needs more time on this machine: {raised}")


def _missed(p: Predicate) -> tuple[str, float] | None:
    """Return the name of the flag, and the seconds, of the deadline that ended a run."""
    clock = p.run.clock
    if p.run.status not in (RunStatus.TIMED_OUT, RunStatus.STALLED) or clock is None:
        return None
    seconds = getattr(p.run.deadlines, f"{clock}_s", None)
    return None if seconds is None else (clock, seconds)


def _load(load: float | None) -> str:
    return "unknown" if load is None else f"{load:.1f}"

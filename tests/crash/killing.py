"""
Kill speedrun during a run, and check what is left of the guest and of the run.

Each run starts through `dying.py`. Its guest prints, forks a process into a new session and ignores signals.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench import Bench

from kit.core.errors import KitError
from kit.evaluate.recovery import close_lost
from kit.result.keys import trusted
from kit.result.verify import open_bundle
from kit.sandbox import processes
from kit.sandbox.cgroup import Cgroup
from kit.sandbox.runtime import docker, runc

WITHIN_S = 2.0
"""Seconds within which nothing of a guest may be left after speedrun is killed."""
LIMIT_S = 180.0


@dataclass(frozen=True)
class KillOutcome:
    """The outcome of one kill."""

    moment: str
    runs: int
    """Number of runs that were reserved before the kill."""
    gone_s: float
    """Seconds from the kill until nothing was left of the guest."""
    statuses: tuple[str, ...]
    """Statuses of the records after the recovery."""
    wrong: tuple[str, ...]
    """Failures; empty if the test passed."""


def at_point(bench: Bench, point: str) -> KillOutcome:
    """Let speedrun kill itself at a point, then check what is left."""
    out = bench.out()
    process = bench.start(bench.command(out, point))
    _, said = process.communicate(timeout=LIMIT_S)
    ended = time.monotonic()
    odd = (
        ()
        if process.returncode == -9
        else (f"speedrun was not killed but exited with {process.returncode}: {said[-300:]}",)
    )
    return look(bench, out, point, ended, odd)


def at_random(bench: Bench, longest_s: float) -> KillOutcome:
    """Kill speedrun at a random moment within `longest_s` of the reservation, then check what is left."""
    out, after = bench.out(), bench.random.uniform(0.0, longest_s)
    process = bench.start(bench.command(out))
    _await_reservation(process, out)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    process.kill()
    ended = time.monotonic()
    process.communicate()
    return look(bench, out, f"{after:.2f} s after the reservation", ended)


def _await_reservation(process: subprocess.Popen[str], out: Path) -> float:
    while not reserved(out) and process.poll() is None:
        time.sleep(0.002)
    return time.monotonic()


def look(bench: Bench, out: Path, moment: str, ended: float, odd: tuple[str, ...] = ()) -> KillOutcome:
    """Check what is left, close the lost runs as the next command does, and verify every record."""
    wrong = list(odd)
    ids = reserved(out)
    gone = await_gone(bench, ids, ended)
    if gone is None or gone > WITHIN_S:
        wrong.append(f"left after {WITHIN_S:.0f} s: {', '.join(left_of(bench, ids)) or 'gone later'}")
    close(bench, out)
    statuses = []
    for run_id in ids:
        try:
            statuses.append(str(open_bundle(out / run_id, trusted(bench.keys)).predicate.run.status))
        except KitError as e:
            wrong.append(f"{run_id}: {e.message}")
    wrong += [f"left in the runs directory: {name}" for name in litter(out)]
    leases = docker.lease.runs(docker.state_folder())
    wrong += [f"left after recovery: {name}" for name in left_of(bench, ids)]
    wrong += [f"left after recovery: the lease of {run_id}" for run_id in ids if run_id in leases]
    return KillOutcome(
        moment, len(ids), time.monotonic() - ended if gone is None else gone, tuple(statuses), tuple(wrong)
    )


def close(bench: Bench, out: Path) -> None:
    """Run the recovery of `eval`, and for Docker also that of `doctor --fix`."""
    close_lost(out, bench.keys)
    if bench.engine.runtime == "docker":
        docker.sweep(bench.engine.url, docker.state_folder())


def reserved(out: Path) -> list[str]:
    """Return the ids of the reserved runs."""
    return sorted(p.name for p in out.glob("r[0-9][0-9]-*")) if out.is_dir() else []


def litter(out: Path) -> list[str]:
    """Return unexpected files in a directory of runs."""
    wanted = {"guest.log", "result.json", "signer.pem", "stamps", "submission", "audit"}
    found = [p.name for p in out.iterdir() if not p.name.startswith(("r", "s"))] if out.is_dir() else []
    return found + [str(p.relative_to(out)) for p in out.glob("r*/*") if p.name not in wanted]


def left_of(bench: Bench, ids: list[str]) -> list[str]:
    """Return what is left of the guests of some runs: processes, control groups, the engine's state."""
    containers = bench.daemon.containers() if bench.daemon else []
    left = [f"the engine's container of {run_id}" for run_id in ids if run_id in containers]
    for run_id in ids:
        left += [
            processes.describe(pid)
            for pid in processes.marked(run_id)
            if "kit.sandbox.watchdog" not in line(pid)
        ]
        left += [processes.describe(pid) for pid in Cgroup(f"/speedrun-kit/{run_id}").members()]
        left += [f"runc's state of {run_id}"] if (runc.state_folder() / run_id).exists() else []
        record = docker.lease.read(docker.state_folder(), run_id)
        for container in record.containers if record else ():
            left += [processes.describe(pid) for pid in processes.pids_in_container(container)]
    return left


def line(pid: int) -> str:
    """Return the command line of a process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def await_gone(bench: Bench, ids: list[str], since: float, limit_s: float = 60.0) -> float | None:
    """Return the seconds from `since` until nothing is left of the runs' guests; None if something stays."""
    while left_of(bench, ids):
        if time.monotonic() - since > limit_s:
            return None
        time.sleep(0.02)
    return time.monotonic() - since


def duration(bench: Bench) -> float:
    """Return how long an undisturbed run takes from its reservation, and check that it completes."""
    out = bench.out()
    process = bench.start(bench.command(out))
    began = _await_reservation(process, out)
    _, said = process.communicate(timeout=LIMIT_S)
    took = time.monotonic() - began
    found = look(bench, out, "never", time.monotonic())
    if found.statuses != ("completed",) or found.wrong:
        raise RuntimeError(f"an undisturbed run failed: {found}: {said[-2000:]}")
    return took


def at_each_write(bench: Bench, action: str) -> Iterator[KillOutcome]:
    """
    Stop speedrun before each disk operation, by a kill or by a full disk; check what is left each time.

    An undisturbed run first creates the files that only a first run creates. The table ends at the run with
    fewer disk operations.
    """
    duration(bench)
    for number in itertools.count(1):
        found = at_write(bench, number, action)
        if found is None:
            return
        yield found


def at_write(bench: Bench, number: int, action: str) -> KillOutcome | None:
    """Stop speedrun before one disk operation, then check; None if the run has fewer operations."""
    out = bench.out()
    process = bench.start(bench.command(out, f"write:{number}", action))
    _, said = process.communicate(timeout=LIMIT_S)
    ended = time.monotonic()
    made = said.rpartition("writes: ")[2].strip()
    if made.isdecimal() and int(made) < number:
        return None
    codes = (-9,) if action == "kill" else (1, 5)
    odd = [f"exit {process.returncode}: {said[-300:]}"] if process.returncode not in codes else []
    odd += [f"a traceback: {said[-300:]}"] if "Traceback" in said else []
    return look(bench, out, f"disk operation {number}", ended, tuple(odd))

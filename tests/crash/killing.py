"""
Runs whose kit is killed: what is left of the guest and of the run. Judges by the kit's own readers.

A run is started through `dying.py`; its guest prints, forks away from its parents and ignores signals.
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
"""How long anything of a guest may outlive the kit."""
LIMIT_S = 180.0


@dataclass(frozen=True)
class Killed:
    """What came of one kit that was killed."""

    moment: str
    runs: int
    """Reserved by then."""
    gone_s: float
    """From the kill to nothing left of the guest."""
    statuses: tuple[str, ...]
    """Of the records, once the next kit had looked."""
    wrong: tuple[str, ...]
    """What should not be so; empty is the promise."""


def at_point(bench: Bench, point: str) -> Killed:
    """Let the kit kill itself at a point, then look."""
    out = bench.out()
    process = bench.start(bench.command(out, point))
    _, said = process.communicate(timeout=LIMIT_S)
    ended = time.monotonic()
    odd = (
        ()
        if process.returncode == -9
        else (f"the kit was not killed, but ended with {process.returncode}: {said[-300:]}",)
    )
    return look(bench, out, point, ended, odd)


def at_random(bench: Bench, longest_s: float) -> Killed:
    """Kill the kit at a random moment within `longest_s` of its reservation, then look."""
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


def look(bench: Bench, out: Path, moment: str, ended: float, odd: tuple[str, ...] = ()) -> Killed:
    """See what is left, let the next kit close what was lost, and verify every record."""
    wrong = list(odd)
    ids = reserved(out)
    gone = await_gone(bench, ids, ended)
    if gone is None or gone > WITHIN_S:
        wrong.append(f"left after {WITHIN_S:.0f} s: {', '.join(left_of(bench, ids)) or 'it went later'}")
    close(bench, out)
    statuses = []
    for run_id in ids:
        try:
            statuses.append(str(open_bundle(out / run_id, trusted(bench.keys)).predicate.run.status))
        except KitError as e:
            wrong.append(f"{run_id}: {e.message}")
    wrong += [f"left in the runs folder: {name}" for name in litter(out)]
    leases = docker.lease.runs(docker.state_folder())
    wrong += [f"left in the end: {name}" for name in left_of(bench, ids)]
    wrong += [f"left in the end: the lease of {run_id}" for run_id in ids if run_id in leases]
    return Killed(
        moment, len(ids), time.monotonic() - ended if gone is None else gone, tuple(statuses), tuple(wrong)
    )


def close(bench: Bench, out: Path) -> None:
    """Do what the next `eval` does first; for Docker also what `doctor --fix` does."""
    close_lost(out, bench.keys)
    if bench.engine.runtime == "docker":
        docker.sweep(bench.engine.url, docker.state_folder())


def reserved(out: Path) -> list[str]:
    """The ids of the runs that were reserved."""
    return sorted(p.name for p in out.glob("r[0-9][0-9]-*")) if out.is_dir() else []


def litter(out: Path) -> list[str]:
    """What lies in a folder of runs that no finished run has."""
    wanted = {"guest.log", "result.json", "signer.pem", "stamps", "submission", "audit"}
    found = [p.name for p in out.iterdir() if not p.name.startswith(("r", "s"))] if out.is_dir() else []
    return found + [str(p.relative_to(out)) for p in out.glob("r*/*") if p.name not in wanted]


def left_of(bench: Bench, ids: list[str]) -> list[str]:
    """Name what is left of the guests of some runs: processes, control groups, the engine's state."""
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
    """The command line of a process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def await_gone(bench: Bench, ids: list[str], since: float, limit_s: float = 30.0) -> float | None:
    """Return how long after `since` nothing was left of some runs' guests; None if something stays."""
    while left_of(bench, ids):
        if time.monotonic() - since > limit_s:
            return None
        time.sleep(0.02)
    return time.monotonic() - since


def duration(bench: Bench) -> float:
    """Return how long a run takes from its reservation that nobody kills. Its record says `completed`."""
    out = bench.out()
    process = bench.start(bench.command(out))
    began = _await_reservation(process, out)
    _, said = process.communicate(timeout=LIMIT_S)
    took = time.monotonic() - began
    found = look(bench, out, "never", time.monotonic())
    if found.statuses != ("completed",) or found.wrong:
        raise RuntimeError(f"a run that nobody kills: {found}: {said[-2000:]}")
    return took


def at_each_write(bench: Bench, action: str) -> Iterator[Killed]:
    """
    Stop the kit before each of its changes of the disk, by a kill or by a full disk; look after each.

    A run before makes what only the first run makes. The table ends with the run that has fewer changes.
    """
    duration(bench)
    for number in itertools.count(1):
        found = at_write(bench, number, action)
        if found is None:
            return
        yield found


def at_write(bench: Bench, number: int, action: str) -> Killed | None:
    """Stop the kit before one of its changes of the disk, then look; None if it has not so many."""
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
    return look(bench, out, f"change {number}", ended, tuple(odd))

"""Faults of dependencies: no network, speedrun or its watchdog killed, the engine killed or hanging."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import killing
import workbench
from fault import QUICK, SPEEDRUN, Fault, FaultOutcome, ended, one_run
from workbench import Bench

from kit.evaluate.recovery import close_lost
from kit.result.keys import trusted
from kit.sandbox import processes
from kit.series.record import read

LOADED = (0.2, 0.4, 0.6, 0.8, 0.95)
"""When speedrun is killed in `image load`, as fractions of the command's duration."""


def no_network(bench: Bench) -> FaultOutcome:
    """Run without a network and without DNS."""
    out, wall = bench.out(), ("unshare", "--net")
    done = ended(bench, bench.command(out, script=QUICK), wall)
    wrong = [*done.wrong(1), *one_run(bench, out)]
    empty = bench.folder / "empty-store"
    out = bench.out()
    lacking = ended(bench, bench.command(out, "-", "kill", "--store", str(empty), script=QUICK), wall)
    wrong += lacking.wrong(3, 5)
    if killing.reserved(out) or lacking.took_s > 120:
        wrong.append(f"{lacking.took_s:.0f} s, {killing.reserved(out)}")
    return FaultOutcome(
        "No network and no DNS (`unshare --net`)",
        f"with a filled store the run succeeds; with an empty one exit {lacking.code} after {lacking.took_s:.0f} s, "
        "naming the file and its source; nothing is reserved",
        tuple(wrong),
    )


def series_killed(bench: Bench) -> FaultOutcome:
    """Kill speedrun in the second run of a series of four."""
    out = bench.out()
    process = bench.start(bench.command(out, "-", "kill", "--runs", "4"))
    while len(killing.reserved(out)) < 2 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    later = ended(bench, bench.command(out, script=QUICK))
    wrong = [*later.wrong(1), *one_run(bench, out, ("lost", "completed"))]
    (series,) = out.glob("s03-*")
    shown = ended(bench, [*SPEEDRUN, "series", str(series), "--keys", str(bench.keys)])
    wrong += shown.wrong(0, 1)
    body = read(series / "series.json", trusted(bench.keys))[0]
    if len(body.ended.not_started) != 2:
        wrong.append(f"never started: {body.ended.not_started}")
    return FaultOutcome(
        "speedrun is killed in the second of a series' four runs",
        "the next `eval` signs the records of both runs and of the series: one completed, one lost, two never started",
        tuple(wrong),
    )  # fmt: skip


def watchdog_killed_too(bench: Bench) -> FaultOutcome:
    """Kill speedrun and its watchdog together while the guest runs."""
    out = bench.out()
    process = _printing(bench, out)
    (run_id,) = killing.reserved(out)
    watchdogs = [
        p for p in processes.pids() if "kit.sandbox.watchdog" in killing.line(p) and run_id in killing.line(p)
    ]
    processes.kill_all([*watchdogs, process.pid])
    process.communicate()
    time.sleep(killing.WITHIN_S)
    lives = bool(killing.left_of(bench, [run_id]))
    began = time.monotonic()
    wrong = [] if len(watchdogs) == 1 else [f"{len(watchdogs)} watchdogs"]
    killing.close(bench, out)
    took = time.monotonic() - began
    wrong += one_run(bench, out, ("lost",))
    spelled = "the guest keeps running until" if lives else "the guest is gone before"
    return FaultOutcome(
        "speedrun and its watchdog are killed together",
        f"{spelled} the next `eval` or `doctor --fix`, which takes {took:.1f} s to kill it and to sign the record",
        tuple(wrong),
    )


def load_killed(bench: Bench) -> FaultOutcome:
    """Kill speedrun while it loads an image into the Docker daemon."""
    with workbench.empty_engine(bench) as empty:
        whole = ended(empty, list(workbench.LOAD))
        took, wrong = whole.took_s, whole.wrong(0)
    for share in LOADED:
        with workbench.empty_engine(bench) as empty:
            process = empty.start(list(workbench.LOAD))
            time.sleep(share * took)
            process.kill()
            process.communicate()
            out = empty.out()
            later = ended(empty, empty.command(out, script=QUICK))
            wrong += [f"killed at {share} of it: {w}" for w in (*later.wrong(1), *one_run(empty, out))]
    return FaultOutcome(
        f"speedrun is killed in `image load`, at {len(LOADED)} moments",
        f"the whole load takes {took:.0f} s; each time the next `eval` loads the image and its run succeeds",
        tuple(wrong),
    )


def engine_killed(bench: Bench) -> FaultOutcome:
    """Kill the Docker daemon while a guest runs."""
    out = bench.out()
    process = _printing(bench, out)
    began = time.monotonic()
    bench.daemon.signal(signal.SIGKILL)
    wrong = _lost(process)
    took = time.monotonic() - began
    wrong += [f"left: {name}" for name in bench.daemon.guests()]
    bench.daemon.start()
    wrong += _swept(bench, out)
    return FaultOutcome(
        "dockerd is killed while a guest runs",
        f"exit 5 after {took:.1f} s, no process is left, the record says lost; "
        "the next `eval` after the daemon's restart removes the stopped container",
        tuple(wrong),
    )


def engine_hangs(bench: Bench) -> FaultOutcome:
    """Suspend the Docker daemon while a guest runs, until speedrun has exited."""
    out = bench.out()
    process = _printing(bench, out)
    began = time.monotonic()
    bench.daemon.signal(signal.SIGSTOP)
    try:
        wrong = _lost(process)
        took = time.monotonic() - began
        wrong += [f"left: {name}" for name in bench.daemon.guests()]
    finally:
        bench.daemon.signal(signal.SIGCONT)
    wrong += _swept(bench, out)
    return FaultOutcome(
        "dockerd hangs while a guest runs",
        f"exit 5 after {took:.1f} s, no process is left, the record says lost; "
        "the next `eval` after the daemon answers again removes the stopped container",
        tuple(wrong),
    )


def _printing(bench: Bench, out: Path) -> subprocess.Popen[str]:
    """Start a run whose guest does not exit, and return it once the guest has printed."""
    process = bench.start(bench.command(out, script=workbench.GUEST + "time.sleep(600)\n"))
    while process.poll() is None and not any(
        (out / i / "guest.log").read_bytes() for i in killing.reserved(out)
    ):
        time.sleep(0.02)
    return process


def _swept(bench: Bench, out: Path) -> list[str]:
    """Check that the recovery of the next `eval` removes the container that the engine kept."""
    kept = bench.daemon.containers() == killing.reserved(out)
    close_lost(out, bench.keys)
    return [*one_run(bench, out, ("lost",)), *([] if kept else ["the daemon kept no container"])]


def _lost(process: subprocess.Popen[str]) -> list[str]:
    """Wait for a command that lost its engine, and return the failures of its exit."""
    _, said = process.communicate(timeout=killing.LIMIT_S)
    well = process.returncode == 5 and "Traceback" not in said
    return [] if well else [f"exit {process.returncode}: {said[-300:]}"]


FAULTS = (
    Fault(no_network),
    Fault(series_killed),
    Fault(watchdog_killed_too),
    Fault(load_killed, ("docker",)),
    Fault(engine_killed, ("docker",)),
    Fault(engine_hangs, ("docker",)),
)

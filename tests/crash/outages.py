"""What a run stands on goes away: the network, its kit in a series, kit and watchdog, the engine."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import killing
import workbench
from fault import QUICK, SPEEDRUN, Fault, Found, ended, one_run
from workbench import Bench

from kit.evaluate.recovery import close_lost
from kit.result.keys import trusted
from kit.sandbox import processes
from kit.series.record import read

LOADED = (0.2, 0.4, 0.6, 0.8, 0.95)
"""When a kit is killed in `image load`, as shares of the time that it takes."""


def no_network(bench: Bench) -> Found:
    """There is no network: neither names nor addresses."""
    out, wall = bench.out(), ("unshare", "--net")
    done = ended(bench, bench.command(out, script=QUICK), wall)
    wrong = [*done.wrong(1), *one_run(bench, out)]
    empty = bench.folder / "empty-store"
    out = bench.out()
    lacking = ended(bench, bench.command(out, "-", "kill", "--store", str(empty), script=QUICK), wall)
    wrong += lacking.wrong(3, 5)
    if killing.reserved(out) or lacking.took_s > 120:
        wrong.append(f"{lacking.took_s:.0f} s, {killing.reserved(out)}")
    return Found(
        "No network and no DNS (`unshare --net`)",
        f"with a filled store the run is made; with an empty one exit {lacking.code} after {lacking.took_s:.0f} s, "
        "naming the file and its source; nothing is reserved",
        tuple(wrong),
    )


def series_killed(bench: Bench) -> Found:
    """The kit is killed in the second run of a series of four."""
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
    return Found(
        "The kit is killed in the second of a series' four runs",
        "the next `eval` signs both runs' records and the series': one completed, one lost, two named as never started",
        tuple(wrong),
    )  # fmt: skip


def watchdog_killed_too(bench: Bench) -> Found:
    """Kit and watchdog are killed together, while the guest runs."""
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
    wrong = [] if len(watchdogs) == 1 else [f"{len(watchdogs)} watchers"]
    killing.close(bench, out)
    took = time.monotonic() - began
    wrong += one_run(bench, out, ("lost",))
    spelled = "the guest lives on until" if lives else "the guest is gone before"
    return Found(
        "Kit and watcher are killed together",
        f"{spelled} the next `eval` or `doctor --fix`, which takes {took:.1f} s to end it and to sign the record",
        tuple(wrong),
    )


def load_killed(bench: Bench) -> Found:
    """The kit is killed while it gives an image to the Docker daemon."""
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
    return Found(
        f"The kit is killed in `image load`, at {len(LOADED)} moments",
        f"of the {took:.0f} s that it takes: the next `eval` gives the daemon the image and makes its run",
        tuple(wrong),
    )


def engine_killed(bench: Bench) -> Found:
    """The Docker daemon is killed under a guest."""
    out = bench.out()
    process = _printing(bench, out)
    began = time.monotonic()
    bench.daemon.signal(signal.SIGKILL)
    wrong = _lost(process)
    took = time.monotonic() - began
    wrong += [f"left: {name}" for name in bench.daemon.guests()]
    bench.daemon.start()
    wrong += _swept(bench, out)
    return Found(
        "dockerd is killed under a guest",
        f"exit 5 after {took:.1f} s, no process is left, the record says lost; "
        "the ended container that the daemon keeps is removed by the next `eval` after its start",
        tuple(wrong),
    )


def engine_hangs(bench: Bench) -> Found:
    """The Docker daemon is stopped under a guest and answers nobody until the kit has ended."""
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
    return Found(
        "dockerd hangs under a guest",
        f"exit 5 after {took:.1f} s, no process is left, the record says lost; "
        "the ended container that the daemon keeps is removed by the next `eval` once it answers",
        tuple(wrong),
    )


def _printing(bench: Bench, out: Path) -> subprocess.Popen[str]:
    """Start a run whose guest stays, and give it once the guest has printed."""
    process = bench.start(bench.command(out, script=workbench.GUEST + "time.sleep(600)\n"))
    while process.poll() is None and not any(
        (out / i / "guest.log").read_bytes() for i in killing.reserved(out)
    ):
        time.sleep(0.02)
    return process


def _swept(bench: Bench, out: Path) -> list[str]:
    """See that what an engine kept goes with what the next `eval` does first."""
    kept = bench.daemon.containers() == killing.reserved(out)
    close_lost(out, bench.keys)
    return [*one_run(bench, out, ("lost",)), *([] if kept else ["the daemon kept no container"])]


def _lost(process: subprocess.Popen[str]) -> list[str]:
    """Wait for a kit that lost its engine; name what is wrong with how it ends."""
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

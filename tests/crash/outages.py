"""What a run stands on goes away: the network, its kit in a series, kit and watcher, the engine."""

from __future__ import annotations

import signal
import sys
import time

import killing
from fault import QUICK, SPEEDRUN, Found, ended, one_run
from killing import REPOSITORY, Bench

from kit.bundle.keys import trusted
from kit.run import processes
from kit.series.record import read


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


def watcher_killed_too(bench: Bench) -> Found:
    """Kit and watcher are killed together, while the guest runs."""
    out = bench.out()
    process = bench.start(bench.command(out, script=killing.GUEST + "time.sleep(600)\n"))
    while process.poll() is None and not any(
        (out / i / "guest.log").read_bytes() for i in killing.reserved(out)
    ):
        time.sleep(0.02)
    (run_id,) = killing.reserved(out)
    watchers = [
        p for p in processes.pids() if "kit.run.watcher" in killing.line(p) and run_id in killing.line(p)
    ]
    processes.kill_all([*watchers, process.pid])
    process.communicate()
    time.sleep(killing.WITHIN_S)
    lives = bool(killing.left_of(bench, [run_id]))
    began = time.monotonic()
    wrong = [] if len(watchers) == 1 else [f"{len(watchers)} watchers"]
    killing.close(bench, out)
    took = time.monotonic() - began
    wrong += one_run(bench, out, ("lost",))
    spelled = "the guest lives on until" if lives else "the guest is gone before"
    return Found(
        "Kit and watcher are killed together",
        f"{spelled} the next `eval` or `doctor --fix`, which takes {took:.1f} s to end it and to sign the record",
        tuple(wrong),
    )


def engine_killed(bench: Bench) -> Found:
    """The Docker daemon is killed under a guest."""
    sys.path.insert(0, str(REPOSITORY / "tests" / "integration"))
    from dockerd import Dockerd

    daemon: Dockerd = bench.daemon
    out = bench.out()
    process = bench.start(bench.command(out, script=killing.GUEST + "time.sleep(600)\n"))
    deadline = time.monotonic() + 60
    while (
        not any((out / i / "guest.log").read_bytes() for i in killing.reserved(out))
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    began = time.monotonic()
    daemon.signal(signal.SIGKILL)
    _, said = process.communicate(timeout=killing.LIMIT_S)
    took = time.monotonic() - began
    wrong = (
        []
        if process.returncode == 5 and "Traceback" not in said
        else [f"exit {process.returncode}: {said[-300:]}"]
    )
    wrong += [f"left: {name}" for name in daemon.guests()]
    daemon.start()
    wrong += one_run(bench, out, ("lost",))
    return Found(
        "dockerd is killed under a guest",
        f"exit 5 after {took:.1f} s, no process is left, the record says lost",
        tuple(wrong),
    )

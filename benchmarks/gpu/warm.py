"""
What a compile cache saves: make one of a record's own script, then run that script with it to its end.

    python benchmarks/gpu/warm.py STORE OUT --record 62 --gpus 2 [--limit 1500]

STORE has the image, the shards and the record's script; see `carry.py check`. The table has a row for each
part. The guest of `cache make` starts cold and is ended at step `--steps`, so its first step is a cold one;
the store keeps the cache, and a second call only runs. The warm run's bundle is in OUT/runs: it must say that
it was warm, name the cache, and be unranked. All ends after `--limit` seconds, or at Ctrl-C: then the guest
is killed and its run is signed as it is. Exit 1: there is no cache, the run ended without its last step, the
bundle says something else, or something was left behind.
"""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from arms import (
    GRACE_S,
    KIT,
    STEP,
    Kitted,
    Machine,
    pinned_machine,
    pinned_options,
    place_options,
    row,
    run_command,
    train_times,
    under_the_kit,
)

ROOM_S = 45.0
"""Of the limit, for what the kit does beside a guest: probes before it, hashing, the signature."""
WARM = 20
"""The first step that a speed is taken from."""
PHASE = re.compile(r"^\[ *[0-9.]+ s\] (?:start|warm-up|training|step ).*$", re.MULTILINE)
"""What `cache make` says of its guest on stderr."""
TITLES = (
    "part", "status", "command, s", "first line, s", "validation of step 0, s", "first training step, s",
    "last step", "ms/step", "gone after, s", "left behind",
)  # fmt: skip


def deadlines(machine: Machine) -> list[str]:
    """Return options that end a guest before the budget ends; each clock that a record sets is shortened."""
    assert machine.budget
    seconds = max(1.0, machine.budget.left_s - ROOM_S)
    return [f"--{clock}-deadline={seconds:.1f}" for clock in ("start", "warmup", "stall", "total")]


def make(machine: Machine, record: str, steps: int) -> dict[str, Any]:
    """Make the cache, print its row, and return what `cache make --json` says; nothing if it failed."""
    asked = [*KIT, "cache", "make", *place_options(machine, record), "--steps", str(steps)]
    done = run_command(machine, [*asked, *deadlines(machine)])
    try:
        made = dict(json.loads(done.stdout))
    except ValueError:
        made = {}
    if done.code or "sha256" not in made:
        said = made.get("error", {}).get("message") or done.stderr[-400:] or "no output"
        row("cache make", f"exit {done.code}: {one_line(said)}", f"{done.wall_s:.1f}", *["-"] * 7)
        return {}
    status = "made" if made["made"] else "was in the store"
    row("cache make", status, f"{done.wall_s:.1f}", *["-"] * 3, made["step"], *["-"] * 3)
    print(
        f"  {made['files']} files, {made['bytes']:,} bytes, sha256 {made['sha256']}; {made['seconds']:.1f} s "
        "from the guest's start until they had arrived"
    )
    for line in PHASE.findall(done.stderr):
        print(f"  by the command's clock: {one_line(line)}")
    return made


def one_line(text: str) -> str:
    """Return a message as a cell of a table."""
    return " ".join(text.split()).replace("|", "/")


def pace(steps: dict[int, tuple[float, int]]) -> str:
    """Return ms a step from `WARM` to the last one, by the script's own clock."""
    last = max(steps, default=0)
    if WARM not in steps or last <= WARM:
        return "-"
    return f"{(steps[last][1] - steps[WARM][1]) / (last - WARM):.2f}"


def show(done: Kitted) -> None:
    """Print the row of the run."""
    if not done.predicate:
        row("warm run", f"exit {done.code}: {one_line(done.said)}", f"{done.wall_s:.1f}", *["-"] * 7)
        return
    lines, seen = done.lines(), done.predicate["observations"]
    steps = train_times(lines)
    start = next((f"{t:.1f}" for t, line in lines if line.startswith("step:0/")), "-")
    first = next((f"{t:.1f}" for t, line in lines if (m := STEP.match(line)) and int(m[1])), "-")
    run = done.predicate["run"]
    row(
        "warm run", run["status"] + (f", {run['clock']}" if run["clock"] else ""), f"{done.wall_s:.1f}",
        f"{lines[0][0]:.1f}" if lines else "-", start, first, max(steps, default=0), pace(steps),
        f"{seen['teardown']['kill_s']:.2f}", ", ".join(seen["teardown"]["remains"]) or "nothing",
    )  # fmt: skip
    losses = [(point["step"], point["val_loss"]) for point in done.predicate["claims"]["val_points"]]
    print(f"  run {run['id']}; validation losses by step: {losses}")


def faults(done: Kitted, cache: str) -> list[str]:
    """Return what is wrong with the warm run; its loss is not judged."""
    p = done.predicate
    if not p:
        return ["there is no bundle"]
    run, found = p["run"], []
    if (run.get("compile_cache"), run.get("compile_cache_sha256")) != ("warm", cache):
        found.append(f"the bundle says {run.get('compile_cache')}, {run.get('compile_cache_sha256')}")
    if p["score"]["ranked"]:
        found.append("the bundle is ranked")
    if run["status"] != "completed":
        found.append(f"the run ended as {run['status']}: {run['reason']}")
    return [*found, *(f"left behind: {x}" for x in p["observations"]["teardown"]["remains"])]


def main() -> int:
    """Make the cache and run with it."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pinned_options(p, record=62, seconds=1500.0)
    p.add_argument("--steps", type=int, default=4, help="Where `cache make` ends the script.")
    a = p.parse_args()
    machine = pinned_machine(a)
    row(*TITLES)
    row(*["---"] * len(TITLES))
    cache = make(machine, a.record, a.steps)
    if not cache:
        return 1
    assert machine.budget
    if machine.budget.left_s < GRACE_S:
        print(f"no time for the warm run: {machine.budget.left_s:.0f} s are left. Run the command again")
        return 1
    done = under_the_kit(machine, a.record, "--compile-cache", "warm", *deadlines(machine))
    show(done)
    wrong = faults(done, cache["sha256"])
    for fault in wrong:
        print(f"  wrong: {one_line(fault)}")
    if done.predicate:
        print(f"  unranked because: {'; '.join(done.predicate['score']['unranked_because'])}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())

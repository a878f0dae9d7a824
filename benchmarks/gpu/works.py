"""
Real scripts under the kit, shortened by deadlines alone.

    python benchmarks/gpu/works.py DATA STORE OUT reference=75 4=200 10=240 [--gpus 1]

`reference` is the reference trainer as GPT-2 124M with the record's batch; a number is that record's own
script, fetched and unedited. Tokens a second are from the script's own clock, over the last steps it printed.
"""

from __future__ import annotations

import argparse

from arms import (
    CLASSIC_STEP,
    Kitted,
    Machine,
    losses,
    machine_of,
    machine_options,
    row,
    submission,
    train_times,
    under_the_kit,
)

from kit.benchmark import records
from kit.core.facts import facts_root
from kit.evaluate.start_script import REFERENCE

OVER = 20
"""Steps that a speed is taken over, at most."""
WARM = 12
"""The first step that counts: the ones before it are untimed, or begin the clock anew."""
REFERENCE_AS = 4
"""The record whose conventions the reference trainer runs by; its batch is the trainer's own default."""
TITLES = (
    "script", "status", "losses", "first step after, s", "last step", "s/step", "tokens/s",
    "gone after, s", "bundle",
)  # fmt: skip


def pace(steps: dict[int, tuple[float, int]]) -> float | None:
    """Return seconds a step over the last steps, by the script's own clock; None of too few."""
    last = max(steps, default=0)
    first = max(WARM, last - OVER)
    if last - first < 3 or first not in steps:
        return None
    return (steps[last][1] - steps[first][1]) / (last - first) / 1000


def shown(name: str, done: Kitted) -> tuple[object, ...]:
    """Return the cells of one run's row."""
    p, lines = done.predicate, done.lines()
    steps = train_times(lines)
    stamps = [t for t, _ in steps.values()] or [t for t, line in lines if CLASSIC_STEP.match(line)]
    number = int(name) if name.isdigit() else REFERENCE_AS
    tokens = records.load(facts_root() / "records", number).tokens_per_step
    each = pace(steps)
    return (
        name, f"{p['run']['status']}, {p['run']['clock']}", losses(lines), f"{min(stamps, default=0):.1f}",
        max(steps, default=0), f"{each:.4f}" if each else "-", f"{tokens / each:,.0f}" if each else "-",
        f"{p['observations']['teardown']['kill_s']:.2f}", p["run"]["id"],
    )  # fmt: skip


def run(machine: Machine, asked: str) -> None:
    """Run one script and print its row."""
    name, _, seconds = asked.partition("=")
    if name.isdigit():
        done = under_the_kit(machine, int(name), "--total-deadline", seconds)
    else:
        folder = submission(machine.out / "reference", REFERENCE.read_bytes())
        done = under_the_kit(machine, REFERENCE_AS, "--total-deadline", seconds, submission=folder)
    if not done.predicate:
        said = done.said.replace("\n", " ").replace("|", "/")
        row(asked, f"exit {done.code}", said, *["-"] * (len(TITLES) - 3))
        return
    row(*shown(name, done))
    if not train_times(done.lines()):
        print("    ", [line for _, line in done.lines()][-3:])


def main() -> None:
    """Run each; NAME=SECONDS gives its total deadline."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    machine_options(p)
    p.add_argument("scripts", nargs="+", metavar="NAME=SECONDS")
    a = p.parse_args()
    row(*TITLES)
    row(*["---"] * len(TITLES))
    for asked in a.scripts:
        run(machine_of(a), asked)


if __name__ == "__main__":
    main()

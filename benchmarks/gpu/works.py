"""
Real scripts under the kit on one GPU, shortened by deadlines alone.

    python benchmarks/gpu/works.py DATA STORE OUT reference=75 4=200 10=240

`reference` is the reference trainer as GPT-2 124M with the record's batch; a number is that record's own
script, fetched and unedited. Tokens a second are from the script's own clock, over the last steps it printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from arms import CLASSIC_STEP, Machine, row, submission, train_times, under_the_kit

from kit import records
from kit.evaluate.plan import REFERENCE
from kit.facts import facts_root

OVER = 10
"""Steps that a speed is taken over."""


def main() -> None:
    """Run each; NAME=SECONDS gives its total deadline."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "store", "out"):
        p.add_argument(name, type=Path)
    p.add_argument("scripts", nargs="+", metavar="NAME=SECONDS")
    p.add_argument("--runtime", default="runc")
    a = p.parse_args()
    machine = Machine(a.data, a.store, a.out, a.runtime)
    row(
        "script",
        "status",
        "losses",
        "first step after, s",
        "last step",
        "s/step",
        "tokens/s",
        "gone after, s",
        "bundle",
    )
    row(*["---"] * 9)
    for asked in a.scripts:
        name, _, seconds = asked.partition("=")
        name, *arguments = name.split(":")
        own = name.isdigit()
        number = int(name) if own else 4
        folder = (
            None
            if own
            else submission(a.out / f"reference{len(arguments)}", REFERENCE.read_bytes(), arguments)
        )
        wide = ["--accept-world-size"] if number in (3, 21) else []
        done = under_the_kit(machine, number, "--total-deadline", seconds, *wide, submission=folder)
        if not done.predicate:
            row(asked, f"exit {done.code}", done.said.replace("\n", " ").replace("|", "/"), *["-"] * 6)
            continue
        p_, lines = done.predicate, done.lines()
        steps = train_times(lines)
        losses = [v["val_loss"] for v in p_["claims"]["val_points"]]
        first = (
            next((t for t, s in lines if CLASSIC_STEP.match(s)), None)
            if not steps
            else min(steps.values())[0]
        )
        each, last = None, max(steps, default=0)
        if last > OVER and last - OVER in steps:
            each = (steps[last][1] - steps[last - OVER][1]) / OVER / 1000
        tokens = records.load(facts_root() / "records", number).tokens_per_step
        row(
            name + " " + " ".join(arguments), f"{p_['run']['status']}, {p_['run']['clock']}", losses,
            f"{first:.1f}" if first else "-", last, f"{each:.4f}" if each else "-",
            f"{tokens / each:,.0f}" if each else "-", f"{p_['observations']['teardown']['kill_s']:.2f}",
            done.folder.name if done.folder else "-",
        )  # fmt: skip
        if not last:
            print("    ", [s for _, s in lines][-3:])


if __name__ == "__main__":
    main()

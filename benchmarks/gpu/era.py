"""
A record's script in its pinned image: under the kit, and under bare torchrun in the same image.

    python benchmarks/gpu/era.py DATA STORE OUT ERA SUBMISSION --record 20 [--seconds 420] [--gpus 1]

With two GPUs on the machine and `--gpus 1` both run at once, the kit's run on GPU 0. SUBMISSION is a folder
that `speedrun record fetch` made; both arms run it, so STORE needs no log of the record. Needs root: see
`in_image.py`. Ctrl-C and SIGTERM end both, and what they printed is compared.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from arms import (
    GRACE_S,
    Bare,
    Budget,
    Kitted,
    Machine,
    machine_options,
    row,
    train_times,
    under_the_kit,
    until_step,
)
from in_image import bare_in_image, require_image
from refusal import refused

from kit.benchmark import records
from kit.core.errors import KitError
from kit.core.facts import facts_root
from kit.gpu.nvml import Driver

WARM = 20
"""The first step that counts: the script's own clock begins anew at 10."""
ROOM_S = 20.0
"""What the kit's run gets beyond the bare one's: its probes come before the guest."""


def bare_arm(machine: Machine, submission: Path, entry: str, last: int, patience_s: float) -> Bare:
    """Run the script bare until step `last`, and say when its GPU is free."""
    done = bare_in_image(machine, submission, entry, until_step(last), patience_s)
    print(f"bare torchrun ended after {done.wall_s:.1f} s: its GPU is free", flush=True)
    return done


def pace(lines: list[tuple[float, str]], last: int) -> tuple[float, float]:
    """Return ms a step from `WARM` to `last`, by the script's own clock and by the reader's."""
    times = train_times(lines)
    begin, end = times[WARM], times[last]
    return (end[1] - begin[1]) / (last - WARM), 1000 * (end[0] - begin[0]) / (last - WARM)


def compare(bare: Bare, kitted: Kitted) -> None:
    """Print both runs and the ratio of their steps over the longest common interval."""
    arms = {"bare": bare.lines, "kit": kitted.lines()}
    times = {name: train_times(lines) for name, lines in arms.items()}
    last = min((max(steps, default=0) for steps in times.values()), default=0)
    row(
        "arm",
        "lines",
        "first line, s",
        "first training step, s",
        "last step",
        f"ms/step {WARM} to {last}",
        "by the reader",
    )
    row(*["---"] * 7)
    for name, lines in arms.items():
        steps = times[name]
        shown = [f"{ms:.2f}" for ms in pace(lines, last)] if last > WARM else ["-", "-"]
        first = min((t for t, _ in steps.values()), default=0.0)
        row(
            name,
            len(lines),
            f"{lines[0][0]:.1f}" if lines else "-",
            f"{first:.1f}",
            max(steps, default=0),
            *shown,
        )
        for t, text in lines[:3] + lines[-3:]:
            print(f"      {t:8.2f}  {text[:140]}")
    if last > WARM:
        own = [pace(lines, last)[0] for lines in arms.values()]
        print(f"kit / bare by the script's own clock: {own[1] / own[0]:.4f}")
    if not arms["bare"]:
        print(bare.errors[-2000:])
    p = kitted.predicate
    if not p:
        print(f"the kit ended with {kitted.code}: {kitted.said}")
        return
    print(json.dumps({k: p["observations"].get(k) for k in ("wall_s", "teardown")}), p["run"]["status"])
    for check in p["audit"]["checks"]:
        if check["outcome"] != "passed":
            print(f"  {check['outcome']:<8} {check['id']}: {check['detail'][:160]}")


def main() -> int:
    """Run both arms."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    machine_options(p)
    p.add_argument("era")
    p.add_argument("submission", type=Path)
    p.add_argument("--record", type=int, required=True)
    p.add_argument("--seconds", type=float, default=420.0, help="total deadline of each run")
    p.add_argument("--last", type=int, default=70)
    p.add_argument("--profile", default="full")
    a = p.parse_args()
    try:
        require_image(a.era, a.store)
        entry = records.load(facts_root() / "records", a.record).script.entry
    except KitError as e:
        return refused(e)
    a.out.mkdir(parents=True, exist_ok=True)
    here = Machine(a.data, a.store, a.out, a.runtime, a.era, a.gpus, profile=a.profile)
    here = replace(here, budget=Budget(2 * a.seconds + GRACE_S))
    lanes = a.gpus == 1 and len(Driver().read().gpus) > 1
    kit, other = (replace(here, visible="0"), replace(here, visible="1")) if lanes else (here, here)
    limits = [f"--{clock}-deadline={a.seconds - ROOM_S:g}" for clock in ("start", "warmup", "total")]
    with ThreadPoolExecutor(2 if lanes else 1) as pool:
        bare = pool.submit(bare_arm, other, a.submission, entry, a.last, a.seconds)
        kitted = pool.submit(under_the_kit, kit, a.record, *limits, submission=a.submission)
        compare(bare.result(), kitted.result())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""
What the kit costs: the reference trainer under the kit and under bare torchrun, in turn, on the same GPU.

    python benchmarks/gpu/overhead.py DATA STORE OUT --pairs 5

Prints the step time of every run (the script's own clock between two steps, and the reader's clock between
the same two lines), the ratios, and the seconds in which the kit's command runs but the guest does not. Every
line with its stamp is kept in OUT/overhead.json. `--arguments` with `--no-compile` is bound by the processor,
not by the GPU: its runs differ by 2 %, so it cannot show half a percent.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from arms import Machine, row, submission, train_times, under_the_kit, under_torchrun, until_step

from kit.evaluate.plan import REFERENCE

FIRST = 20
"""The first step of the interval: by then caches are warm and the untimed steps are over."""


def step_ms(lines: list[tuple[float, str]], last: int) -> tuple[float, float]:
    """Return milliseconds a step from `FIRST` to `last`: the script's own clock, and the reader's."""
    times = train_times(lines)
    begin, end = times[FIRST], times[last]
    count = last - FIRST
    return (end[1] - begin[1]) / count, 1000 * (end[0] - begin[0]) / count


def spread(ratios: list[float]) -> str:
    """Say mean, standard deviation and standard error."""
    if len(ratios) < 2:
        return f"{ratios}"
    mean, deviation = statistics.mean(ratios), statistics.stdev(ratios)
    error, middle = deviation / len(ratios) ** 0.5, statistics.median(ratios)
    return f"{mean:.5f} (sd {deviation:.5f}, se {error:.5f}, median {middle:.5f})"


def main() -> None:
    """Run the pairs."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "store", "out"):
        p.add_argument(name, type=Path)
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--last", type=int, default=120)
    p.add_argument("--runtime", default="runc")
    p.add_argument("--arguments", default="--batch-tokens 65536 --micro-batch 64 --steps 5000 --val-every 0")
    a = p.parse_args()
    machine = Machine(a.data, a.store, a.out, a.runtime)
    arguments = a.arguments.split()
    folder = submission(a.out / "reference", REFERENCE.read_bytes(), arguments)
    script = folder / "train_gpt2.py"
    kept: list[dict[str, list[tuple[float, str]]]] = []
    ratios, outer, overheads, longest = [], [], [], 0.0
    row(
        "pair",
        "bare ms/step",
        "kit ms/step",
        "ratio",
        "ratio by the reader's clock",
        "kit beside the guest, s",
    )
    row(*["---"] * 6)
    for pair in range(1, a.pairs + 1):
        arms: dict[str, list[tuple[float, str]]] = {}
        for arm in ("bare", "kit") if pair % 2 else ("kit", "bare"):
            if arm == "bare":
                bare = under_torchrun(machine, script, arguments, enough=until_step(a.last))
                longest = max(longest, bare.wall_s)
                arms[arm] = bare.lines
            else:
                limit = f"{1.1 * longest + 2.5:.1f}"
                kit = under_the_kit(machine, 4, "--total-deadline", limit, submission=folder)
                overheads.append(kit.overhead_s)
                arms[arm] = kit.lines()
        kept.append(arms)
        (a.out / "overhead.json").write_text(json.dumps(kept))
        last = min(a.last, *(max(train_times(lines), default=0) for lines in arms.values()))
        if last < FIRST + 10:
            row(pair, "too few steps", last, "-", "-", f"{overheads[-1]:.2f}")
            continue
        own, seen = ([step_ms(arms[arm], last)[clock] for arm in ("bare", "kit")] for clock in (0, 1))
        ratios.append(own[1] / own[0])
        outer.append(seen[1] / seen[0])
        row(
            f"{pair} (to step {last})", f"{own[0]:.3f}", f"{own[1]:.3f}", f"{ratios[-1]:.5f}",
            f"{outer[-1]:.5f}", f"{overheads[-1]:.2f}",
        )  # fmt: skip
    print("kit / bare by the script's own clock:", spread(ratios))
    print("kit / bare by the reader's clock:", spread(outer))
    least, most = min(overheads), max(overheads)
    print(f"seconds beside the guest: {statistics.mean(overheads):.2f} ({least:.2f} to {most:.2f})")


if __name__ == "__main__":
    main()

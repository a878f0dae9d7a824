"""
What the kit costs: the reference trainer under the kit and under bare torchrun, in turn, on the same GPU.

    python benchmarks/gpu/overhead.py DATA STORE OUT --pairs 5
    python benchmarks/gpu/overhead.py DATA STORE OUT --pairs 2 --lanes 4      (on each of four GPUs at once)
    python benchmarks/gpu/overhead.py DATA STORE OUT --pairs 3 --gpus 2 --record 62 --image torch-2.10.0
    python benchmarks/gpu/overhead.py DATA STORE OUT --profile smoke --image cpu --arguments ARGUMENTS

The third one runs both arms in that image's files, which needs root: see `in_image.py`. With `--gpus 2`, NCCL
sums the gradients of two ranks. `--record` is one of the image's era; its own script is not used. The last
one tries the benchmark out on CPUs; records/smoke.toml has the arguments of a small model.

All ends after `--limit` seconds, or at Ctrl-C; the rows so far stand. Exit 1: not every pair gave a ratio.

Prints the step time of every run (the script's own clock between two steps, and the reader's clock between
the same two lines), the ratios, and the seconds in which the kit's command runs but the guest does not. Every
line with its stamp is kept in OUT/<lane>/overhead.json. By default the model is wide and not compiled, so
that the GPU alone decides. Where torch.compile chooses kernels anew for each run, its runs differ by 1 %;
GPT-2's own width, not compiled, is bound by the processor and differs by 2 %.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from operator import methodcaller
from pathlib import Path

from arms import (
    Bare,
    Budget,
    Machine,
    machine_of,
    machine_options,
    row,
    submission,
    train_times,
    under_the_kit,
    under_torchrun,
    until_step,
)
from in_image import bare_in_image, require_image
from refusal import refused

from kit.benchmark import records
from kit.core.errors import KitError
from kit.core.facts import facts_root
from kit.evaluate.start_script import ENTRY, REFERENCE

FIRST = 20
"""The first step of the interval: by then caches are warm and the untimed steps are over."""
ARGUMENTS = (
    "--no-compile --layers 6 --width 2048 --heads 16 --batch-tokens 32768 --micro-batch 32"
    " --steps 5000 --val-every 0"
)
TITLES = (
    "lane", "pair", "to step", "bare ms/step", "kit ms/step", "ratio", "ratio by the reader's clock",
    "kit beside the guest, s",
)  # fmt: skip

ENOUGH = FIRST + 10
"""The last step, at least, of an interval that gives a ratio."""
PATIENCE_S = 600.0

Lines = list[tuple[float, str]]


@dataclass
class Lane:
    """The pairs that run on the same GPUs, one after the other."""

    name: str
    machine: Machine
    record: str
    arguments: list[str]
    last: int
    """The step at which the interval ends."""
    script: Path
    kept: list[dict[str, Lines]] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    outer: list[float] = field(default_factory=list)
    overheads: list[float] = field(default_factory=list)
    longest_s: float = 0.0
    """Of the bare runs; a run under the kit gets a little more."""

    def arm(self, name: str) -> Lines:
        """Run one arm and return its lines."""
        if name == "bare":
            bare = self.bare()
            if max(train_times(bare.lines), default=0) < ENOUGH:
                said = bare.errors[-2000:].strip() or "it said nothing on stderr"
                raise SystemExit(f"bare torchrun ended before step {ENOUGH}: {said}")
            self.longest_s = max(self.longest_s, bare.wall_s)
            return bare.lines
        limit = ("--total-deadline", f"{1.1 * self.longest_s + 2.5:.1f}")
        kit = under_the_kit(self.machine, self.record, *limit, submission=self.script.parent)
        if not kit.predicate:
            raise SystemExit(f"the kit ended with {kit.code}: {kit.said}")
        self.overheads.append(kit.overhead_s)
        return kit.lines()

    def bare(self) -> Bare:
        """Run the script under torchrun alone, in the files of the machine or of the image."""
        enough = until_step(self.last)
        patience_s = min(PATIENCE_S, self.machine.budget.left_s if self.machine.budget else PATIENCE_S)
        if self.machine.image == "host":
            return under_torchrun(
                self.machine, self.script, self.arguments, enough=enough, patience_s=patience_s
            )
        return bare_in_image(self.machine, self.script.parent, self.script.name, enough, patience_s)

    def pair(self, number: int) -> None:
        """Run both arms and print their row; every second pair begins with the kit."""
        order = ("bare", "kit") if number % 2 else ("kit", "bare")
        arms = {name: self.arm(name) for name in order}
        self.kept.append(arms)
        (self.machine.out / "overhead.json").write_text(json.dumps(self.kept))
        last = min(self.last, *(max(train_times(lines), default=0) for lines in arms.values()))
        if last < ENOUGH:
            row(self.name, number, f"{last}, too few", *["-"] * 4, f"{self.overheads[-1]:.2f}")
            return
        own, seen = ([step_ms(arms[arm], last)[clock] for arm in ("bare", "kit")] for clock in (0, 1))
        self.ratios.append(own[1] / own[0])
        self.outer.append(seen[1] / seen[0])
        row(
            self.name, number, last, f"{own[0]:.3f}", f"{own[1]:.3f}", f"{self.ratios[-1]:.5f}",
            f"{self.outer[-1]:.5f}", f"{self.overheads[-1]:.2f}",
        )  # fmt: skip


def step_ms(lines: Lines, last: int) -> tuple[float, float]:
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
    return f"{mean:.5f} (n {len(ratios)}, sd {deviation:.5f}, se {error:.5f}, median {middle:.5f})"


def lane(
    machine: Machine, number: int | None, record: str, entry: str, arguments: Sequence[str], last: int
) -> Lane:
    """Return lane `number`, on the GPU of that index; None takes the first GPUs and the folder as it is."""
    if number is not None:
        machine = replace(machine, out=machine.out / str(number), visible=str(number))
    folder = submission(machine.out / "reference", REFERENCE.read_bytes(), arguments, entry)
    return Lane(str(number or 0), machine, record, list(arguments), last, folder / entry)


def main() -> int:
    """Run the pairs."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    machine_options(p)
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--last", type=int, default=120)
    p.add_argument("--lanes", type=int, help="Run on so many GPUs at once, one run on each.")
    p.add_argument("--arguments", default=ARGUMENTS)
    p.add_argument(
        "--record", default="4", help="Only its script's name matters; with --image, one of its era."
    )
    p.add_argument("--image", default="host", help="An era's image; by default the machine's own files.")
    p.add_argument("--profile", choices=["full", "smoke"], default="full", help="smoke: on CPUs.")
    p.add_argument("--limit", type=float, default=3600.0, help="Seconds for all of it, at most.")
    a = p.parse_args()
    smoke = a.profile == "smoke"
    if a.pairs < 1 or a.gpus < 1 or (a.lanes is not None and a.lanes < 1):
        p.error("--pairs, --gpus and --lanes are at least 1")
    if a.last < ENOUGH:
        p.error(f"--last is at least {ENOUGH}: steps before {FIRST} do not count")
    if a.lanes and (smoke or a.gpus > 1):
        p.error("--lanes gives each run one GPU: leave out --gpus and --profile")
    if smoke and a.image == "host":
        p.error("--profile smoke needs an image: --image cpu")
    try:
        record = records.load(facts_root() / "records", a.record)
        if a.image not in ("host", record.era) and not smoke:
            p.error(f"--record {a.record} belongs to the image {record.era}, not {a.image}")
        if a.image != "host":
            require_image(a.image, a.store)
    except KitError as e:
        return refused(e)
    budget = Budget(a.limit)
    gpus = 0 if smoke else a.gpus
    machine = replace(machine_of(a), image=a.image, profile=a.profile, gpus=gpus, budget=budget)
    entry = ENTRY if smoke else record.script.entry
    numbers = range(a.lanes) if a.lanes else (None,)
    lanes = [lane(machine, number, a.record, entry, a.arguments.split(), a.last) for number in numbers]
    row(*TITLES)
    row(*["---"] * len(TITLES))
    try:
        for number in range(1, a.pairs + 1):
            with ThreadPoolExecutor(len(lanes)) as pool:
                list(pool.map(methodcaller("pair", number), lanes))
    finally:
        summary(lanes)
    return 0 if all(len(each.ratios) == a.pairs for each in lanes) else 1


def summary(lanes: Sequence[Lane]) -> None:
    """Print the ratios of all lanes, and the seconds beside the guests."""
    print("kit / bare by the script's own clock:", spread([r for each in lanes for r in each.ratios]))
    print("kit / bare by the reader's clock:", spread([r for each in lanes for r in each.outer]))
    if overheads := [s for each in lanes for s in each.overheads]:
        least, most = min(overheads), max(overheads)
        print(f"seconds beside the guest: {statistics.mean(overheads):.2f} ({least:.2f} to {most:.2f})")


if __name__ == "__main__":
    raise SystemExit(main())

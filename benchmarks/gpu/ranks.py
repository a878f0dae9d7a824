"""
Ranks on several GPUs under the kit: they meet, one sleeps, one dies, and deadlines pass in mid-collective.

    python benchmarks/gpu/ranks.py STORE OUT --record 62 --gpus 2 [--only 0 3] [--limit 600]
    python benchmarks/gpu/ranks.py STORE OUT --record 3 --profile smoke      # 2 ranks of gloo on CPUs

What `tests/integration/test_eight_ranks.py` does on CPUs, with NCCL in a record's own image. Each guest is a
submission with one rank a GPU. The table says what it did and how long after the host's decision to kill it,
or after its own end, all processes and all GPU memory were gone, as the signed bundle says. Bundles are in
OUT/runs. All ends after `--limit` seconds, or at Ctrl-C: the guest that runs is killed and signed as
cancelled, and the rows so far stand. Exit 1: a guest ended otherwise than it must, something was left, it
took more than 5 s, or not every guest ran.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from arms import Kitted, Machine, gpu_memory, pinned_machine, pinned_options, row, submission, under_the_kit
from deadlines import DEAF, GRAPH, SPIN

from kit.benchmark import records
from kit.core.facts import facts_root
from kit.data.synth import load_smoke

GONE_S = 5.0
"""The goal: seconds from the decision to kill until nothing is left."""
LINES, WIDTH = 400, 37
SAID = ("rank", "all", "sums", "a ", "hours", "begun", "deaf", "replaying", "waiting")
"""How the guests' own lines begin, unlike warnings of torch."""
MEET = "all ranks have met"
HEAD = f"""\
import os, signal, sys, time
import torch, torch.distributed as dist
RANK, RANKS = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
if torch.cuda.is_available():
    DEVICE, NUMBERS = torch.device("cuda", RANK), 1 << 28
    torch.cuda.set_device(RANK)
    dist.init_process_group("nccl", device_id=DEVICE)
else:
    DEVICE, NUMBERS = torch.device("cpu"), 1 << 20
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
x = torch.full((NUMBERS,), float(RANK + 1), device=DEVICE)
dist.all_reduce(x)
assert x[0].item() == RANKS * (RANKS + 1) / 2, x[0]
if RANK == 0:
    print(f"{MEET}: {{RANKS}} by {{dist.get_backend()}}", flush=True)
"""
SENDS = f"""
for source in range(RANKS):
    for target in range(RANKS):
        if source == target or RANK not in (source, target):
            continue
        y = torch.full((NUMBERS,), float(source if RANK == source else -1), device=DEVICE)
        if RANK == source:
            dist.send(y, target)
        else:
            dist.recv(y, source)
            assert y[-1].item() == source, y[-1]
            print(f"rank {{source}} reached rank {{target}}", flush=True)
dist.barrier()
for n in range({LINES}):
    text = f"rank {{RANK}} line {{n}} " + "x" * ({WIDTH} * (RANK + 1))
    print(text, file=sys.stderr if n % 2 else sys.stdout)
dist.destroy_process_group()
"""
WAITS = """
    print(f"rank {RANK} is the one", flush=True)
    ACT
dist.all_reduce(x)
print(f"rank {RANK}: " + str(x[0].item()), flush=True)
time.sleep(3600)
"""
BUSY = """
if RANK == 0:
    print("sums are in flight", flush=True)
while True:
    dist.all_reduce(x)
"""
ACTS = {
    "sleeps": "time.sleep(3600)",
    "dies by an exception": 'raise ValueError(f"rank {RANK} has had enough")',
    "is killed by a signal": "os.kill(os.getpid(), signal.SIGKILL)",
}


@dataclass(frozen=True, slots=True)
class Guest:
    """What runs, and how it must end."""

    title: str
    script: str
    status: str
    says: tuple[str, ...] = (MEET,)
    """Lines that begin so must be in its log."""


def guests(ranks: int, on_gpus: bool) -> list[Guest]:
    """Return the guests; those that need a GPU only with GPUs."""
    reached = tuple(f"rank {a} reached rank {b}" for a in range(ranks) for b in range(ranks) if a != b)
    found = [Guest("meet, send each way, print from all ranks", HEAD + SENDS, "completed", (MEET, *reached))]
    for act, code in ACTS.items():
        for rank in (0, ranks - 1):
            body = f"if RANK == {rank}:" + WAITS.replace("ACT", code)
            status = "timed_out" if act == "sleeps" else "crashed"
            says = (MEET, f"rank {rank} is the one")
            if "exception" in act:
                says += ("ValueError",)
            found.append(
                Guest(f"rank {rank} {act}; the others wait for it in a sum", HEAD + body, status, says)
            )
    found.append(Guest("a deadline passes while sums are in flight", HEAD + BUSY, "timed_out"))
    if on_gpus:
        found += [
            Guest("NCCL behind a kernel that never ends", SPIN, "timed_out", ("begun",)),
            Guest("a CUDA graph of products and sums in flight", GRAPH, "timed_out", ("begun",)),
            Guest("deaf to signals, with daemons that hold memory", DEAF, "timed_out", ("begun",)),
        ]
    return found


def mixed_lines(lines: list[str], ranks: int) -> int:
    """Return how many of the lines that the first guest prints from all ranks are missing or changed."""
    wanted = {f"rank {r} line {n} " + "x" * (WIDTH * (r + 1)) for r in range(ranks) for n in range(LINES)}
    return len(wanted - set(lines))


def faults(guest: Guest, done: Kitted, ranks: int) -> list[str]:
    """Return what is wrong with how a guest ended."""
    if not done.predicate:
        return [f"exit {done.code}: {' '.join(done.said.split())[-300:]}"]
    run, teardown = done.predicate["run"], done.predicate["observations"]["teardown"]
    lines = [line for _, line in done.lines()]
    found = [f"no line: {s}" for s in guest.says if not any(s in line for line in lines)]
    if run["status"] != guest.status:
        found.append(f"{run['status']}, not {guest.status}: {run['reason']}")
    if teardown["kill_s"] > GONE_S:
        found.append(f"gone after {teardown['kill_s']:.2f} s")
    if SENDS in guest.script and (mixed := mixed_lines(lines, ranks)):
        found.append(f"{mixed} lines are missing or mixed")
    return [*found, *(f"left behind: {x}" for x in teardown["remains"])]


TITLES = ("guest", "status", "clock", "guest, s", "last line before its end", "gone after, s", "left behind",
          "MiB, processes", "as it must be")  # fmt: skip


def show(guest: Guest, done: Kitted, wrong: list[str], memory: object) -> None:
    """Print the row of a guest, and what is wrong with it."""
    verdict = "no" if wrong else "yes"
    if done.predicate:
        run, seen = done.predicate["run"], done.predicate["observations"]
        last = [line for _, line in done.lines() if line.startswith(SAID) and " line " not in line]
        remains = ", ".join(seen["teardown"]["remains"]) or "nothing"
        row(
            guest.title, run["status"], run["clock"] or "-", f"{seen['wall_s']:.1f}",
            (last or ["-"])[-1][:50].replace("|", "/"), f"{seen['teardown']['kill_s']:.2f}", remains, memory,
            verdict,
        )  # fmt: skip
    else:
        row(guest.title, f"exit {done.code}", *["-"] * 5, memory, verdict)
    for fault in wrong:
        print(f"  wrong: {fault.replace('|', '/')}", flush=True)


def run(machine: Machine, record: str, guest: Guest, folder: Path, seconds: float) -> Kitted:
    """Run a guest with a total timeout."""
    entry = records.load(facts_root() / "records", record).script.entry
    made = submission(folder, guest.script.encode(), entry=entry)
    return under_the_kit(machine, record, "--total-deadline", f"{seconds:g}", submission=made)


def main() -> int:
    """Run each guest."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pinned_options(p, record=62, seconds=600.0)
    p.add_argument("--only", nargs="*", type=int, help="Positions in the list of guests, from 0.")
    p.add_argument("--seconds", type=float, default=25.0, help="Total timeout of guests that it must end.")
    a = p.parse_args()
    machine = pinned_machine(a)
    assert machine.budget
    ranks = machine.gpus or load_smoke(facts_root() / "records").guest.world_size
    every = list(enumerate(guests(ranks, bool(machine.gpus))))
    chosen = [(n, guest) for n, guest in every if a.only is None or n in a.only]
    row(*TITLES)
    row(*["---"] * len(TITLES))
    ended = fine = 0
    for n, guest in chosen:
        if machine.budget.left_s < a.seconds:
            break
        seconds = a.seconds if guest.status == "timed_out" else min(4 * a.seconds, machine.budget.left_s)
        done = run(machine, a.record, guest, a.out / f"ranks-{n}", seconds)
        wrong = faults(guest, done, ranks)
        show(guest, done, wrong, gpu_memory() if machine.gpus else "-")
        ended, fine = ended + 1, fine + (not wrong)
    print(f"{fine} of {ended} guests ended as they must; {len(chosen) - ended} of {len(chosen)} did not run")
    return 0 if fine == len(chosen) else 1


if __name__ == "__main__":
    raise SystemExit(main())

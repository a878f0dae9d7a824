"""
How long after a deadline a guest and its GPU memory are gone.

    python benchmarks/gpu/deadlines.py DATA STORE OUT [--gpus 1]

Each guest says what it is doing, then a deadline of the host's ends it. The seconds are from the decision to
kill to no process and no memory more than before, by NVML, as they stand in the signed bundle.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from arms import gpu_memory, machine_of, machine_options, row, submission, under_the_kit

from kit.evaluate.start_script import REFERENCE

HEAD = """\
import os, signal, sys, time
import torch, torch.distributed as dist
rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
torch.cuda.set_device(rank)
print("begun", flush=True)
"""
SPIN = (
    HEAD
    + """
import triton
import triton.language as tl

@triton.jit
def spin(flag):
    x = tl.load(flag, volatile=True)
    while x == 0:
        x = tl.load(flag, volatile=True)

dist.init_process_group("nccl", device_id=torch.device("cuda", rank))
x = torch.ones(1 << 28, device="cuda")
dist.all_reduce(x)
torch.cuda.synchronize()
flag = torch.zeros(1, dtype=torch.int32, device="cuda")
print("waiting for a rank that never comes", flush=True)
if rank == 0:
    spin[(1,)](flag)
dist.all_reduce(x)
torch.cuda.synchronize()
"""
)
BARRIER = (
    HEAD
    + """
import datetime
x = torch.ones(1 << 30, device="cuda")
store = dist.TCPStore("127.0.0.1", 29777, 2, is_master=True, wait_for_workers=False)
print("waiting at a barrier for rank 1 of 2", flush=True)
dist.init_process_group("nccl", store=store, rank=0, world_size=2, timeout=datetime.timedelta(hours=1))
dist.all_reduce(x)
torch.cuda.synchronize()
"""
)
ASLEEP = (
    HEAD
    + """
dist.init_process_group("nccl", device_id=torch.device("cuda", rank))
x = torch.ones(1 << 30, device="cuda")
dist.all_reduce(x)
torch.cuda.synchronize()
if rank == 1:
    print("rank 1 sleeps", flush=True)
    time.sleep(1e6)
dist.all_reduce(x)
print("a sum is queued that rank 1 does not join", flush=True)
torch.cuda.synchronize()
"""
)
DEAF = (
    HEAD
    + """
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
x = torch.ones(20 << 28, device="cuda")
torch.cuda.synchronize()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", '''
import os, signal, time, torch
torch.cuda.set_device(int(os.environ["RANK"]))
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
y = torch.ones(20 << 28, device="cuda")
torch.cuda.synchronize()
print("a daemon of it holds 20 GiB, too", flush=True)
while True:
    y.add_(1)
'''])
    os._exit(0)
print("deaf, and holding 20 GiB", flush=True)
while True:
    x.add_(1)
    torch.cuda.synchronize()
"""
)
GRAPH = (
    HEAD
    + """
dist.init_process_group("nccl", device_id=torch.device("cuda", rank))
a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
out = torch.empty_like(a)
torch.mm(a, a, out=out)
dist.all_reduce(out)
torch.cuda.synchronize()
graph = torch.cuda.CUDAGraph()
with torch.cuda.graph(graph):
    for _ in range(200):
        torch.mm(a, a, out=out)
        if ranks > 1:
            dist.all_reduce(out)
print("replaying a graph", flush=True)
for _ in range(10_000):
    graph.replay()
print("hours of it are queued", flush=True)
torch.cuda.synchronize()
"""
)


TITLES = (
    "guest", "status", "clock", "last line before the kill", "gone after, s", "left behind",
    "MiB in use, processes",
)  # fmt: skip
SMALL = ("--batch-tokens", "65536", "--micro-batch", "64", "--val-every", "0")


Asked = tuple[int, Path | None, float]
"""Record, submission (None: the record's own script), total deadline in seconds."""


def guests(out: Path, gpus: int, seconds: float, training: float) -> dict[str, Asked]:
    """Return what is asked for, by title."""
    small = submission(out / "s1", REFERENCE.read_bytes(), SMALL)
    others = {
        "NCCL behind a kernel that never ends": (SPIN, seconds),
        "a rank that waits for another": (BARRIER if gpus == 1 else ASLEEP, seconds),
        "deaf to signals, with a daemon": (DEAF, seconds + 5),
        "a CUDA graph in flight": (GRAPH, seconds),
    }
    return {
        "record 10's own script, while torch.compile runs": (10, None, seconds + 10),
        "the reference trainer, in mid-step": (4, small, training),
        **{
            title: (4, submission(out / f"s{n}", script.encode()), total)
            for n, (title, (script, total)) in enumerate(others.items(), 2)
        },
    }


def main() -> None:
    """End each guest."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    machine_options(p)
    p.add_argument("--only", nargs="*")
    p.add_argument("--seconds", type=float, default=20.0, help="The total deadline.")
    p.add_argument("--training", type=float, default=60.0, help="The total deadline of the one that trains.")
    a = p.parse_args()
    machine = machine_of(a)
    row(*TITLES)
    row(*["---"] * len(TITLES))
    every = guests(a.out, a.gpus, a.seconds, a.training)
    for n, (title, (record, folder, total)) in enumerate(every.items()):
        if a.only and str(n) not in a.only:
            continue
        done = under_the_kit(machine, record, "--total-deadline", f"{total}", submission=folder)
        if not done.predicate:
            said = done.said.replace("\n", " ").replace("|", "/")
            row(title, f"exit {done.code}", said, *["-"] * 3, gpu_memory())
            continue
        run, seen = done.predicate["run"], done.predicate["observations"]
        last = [line for _, line in done.lines() if not line.startswith("[W")][-1:]
        row(
            title, run["status"], run["clock"], (last or ["nothing"])[0][:70].replace("|", "/"),
            f"{seen['teardown']['kill_s']:.2f}", ", ".join(seen["teardown"]["remains"]) or "nothing",
            gpu_memory(),
        )  # fmt: skip


if __name__ == "__main__":
    main()

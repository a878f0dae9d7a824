"""
How long after a deadline a guest and its GPU memory are gone.

    python benchmarks/gpu/deadlines.py DATA STORE OUT

Each guest says what it is doing, then a deadline of the host's ends it. The seconds are from the decision to
kill to no process and no memory more than before, by NVML, as they stand in the signed bundle.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from arms import Machine, gpu_memory, row, submission, under_the_kit

from kit.evaluate.plan import REFERENCE

HEAD = """\
import os, signal, sys, time
import torch, torch.distributed as dist
torch.cuda.set_device(0)
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

dist.init_process_group("nccl", device_id=torch.device("cuda", 0))
x = torch.ones(1 << 28, device="cuda")
dist.all_reduce(x)
torch.cuda.synchronize()
flag = torch.zeros(1, dtype=torch.int32, device="cuda")
print("waiting for a rank that never comes", flush=True)
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
import signal, time, torch
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
a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
out = torch.empty_like(a)
torch.mm(a, a, out=out)
graph = torch.cuda.CUDAGraph()
with torch.cuda.graph(graph):
    for _ in range(200):
        torch.mm(a, a, out=out)
print("replaying a graph", flush=True)
for _ in range(10_000):
    graph.replay()
print("hours of it are queued", flush=True)
torch.cuda.synchronize()
"""
)


def main() -> None:
    """End each guest."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "store", "out"):
        p.add_argument(name, type=Path)
    p.add_argument("--runtime", default="runc")
    p.add_argument("--only", nargs="*")
    p.add_argument("--seconds", type=float, default=20.0, help="The total deadline.")
    p.add_argument("--training", type=float, default=60.0, help="The total deadline of the one that trains.")
    a = p.parse_args()
    machine = Machine(a.data, a.store, a.out, a.runtime)
    reference = REFERENCE.read_bytes()
    small = ("--batch-tokens", "65536", "--micro-batch", "64", "--val-every", "0")
    guests: dict[str, tuple[int, Path | None, float]] = {
        "record 10's own script, while torch.compile runs": (10, None, a.seconds + 10),
        "the reference trainer, in mid-step": (4, submission(a.out / "s1", reference, small), a.training),
        "NCCL behind a kernel that never ends": (4, submission(a.out / "s2", SPIN.encode()), a.seconds),
        "a rank that waits for another": (4, submission(a.out / "s3", BARRIER.encode()), a.seconds),
        "deaf to signals, with a daemon": (4, submission(a.out / "s4", DEAF.encode()), a.seconds + 5),
        "a CUDA graph in flight": (4, submission(a.out / "s5", GRAPH.encode()), a.seconds),
    }
    row(
        "guest",
        "status",
        "clock",
        "last line before the kill",
        "gone after, s",
        "left behind",
        "MiB in use, processes",
    )
    row(*["---"] * 7)
    for n, (title, (record, folder, total)) in enumerate(guests.items()):
        if a.only and str(n) not in a.only:
            continue
        done = under_the_kit(machine, record, "--total-deadline", f"{total}", submission=folder)
        if not done.predicate:
            row(
                title,
                f"exit {done.code}",
                done.said.replace("\n", " ").replace("|", "/"),
                "-",
                "-",
                "-",
                gpu_memory(),
            )
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

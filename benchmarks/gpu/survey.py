"""
Which upstream scripts this machine's own torch still runs: `python benchmarks/gpu/survey.py SCRIPTS DATA`.

Each NN.py runs unedited under bare torchrun on one GPU, several at once, until it has printed its second
step, ended, or used up its patience. Several at once say nothing about speed. Prints a row as each one ends.
`--shared-caches` lets a script find what the compiler made of the same kernels for another one.
"""

from __future__ import annotations

import argparse
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import torch
from arms import Bare, Machine, losses, row, train_times, under_torchrun, until_step

LEAST = 40.0
"""Seconds without which a script need not be started."""
CAUSE = re.compile(r"^(?:\[rank0\]: ?)?((?:[\w.]*(?:Error|Exception|Unsupported|Failure)\w*)(?::.*)?)$")


def reason(found: Bare) -> str:
    """Return the last error that the script itself told, on one line."""
    said = [m[1] for line in found.errors.splitlines() if (m := CAUSE.match(line.strip()))]
    own = [line for line in said if not line.startswith(("Failures", "torch.distributed.elastic"))]
    return (own or said or ["no word"])[-1][:160].replace("|", "/")


def outcome(found: Bare) -> str:
    """Describe how a script's run ended, in one line."""
    steps = train_times(found.lines)
    if steps:
        return f"runs: step {max(steps)} after {found.lines[-1][0]:.0f} s"
    if found.code is None:
        seen = "its first validation was printed" if losses(found.lines) else "it had printed no loss"
        return f"not decided in {found.wall_s:.0f} s: {seen}, no error"
    return f"fails after {found.wall_s:.0f} s: {reason(found)}"


def main() -> None:
    """Run them all."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("scripts", type=Path)
    p.add_argument("data", type=Path)
    p.add_argument("--jobs", type=int, default=4, help="Scripts at once.")
    p.add_argument("--gpus", type=int, default=1, help="Spread them over so many GPUs.")
    p.add_argument("--shared-caches", action="store_true")
    p.add_argument("--patience", type=float, default=240.0)
    p.add_argument("--until", type=float, default=3600.0, help="Seconds after which nothing runs any more.")
    p.add_argument("--only", nargs="*", help="Names without .py, in this order.")
    p.add_argument("--logs", type=Path, default=Path("survey"))
    p.add_argument(
        "--tf32", action="store_true", help="Let cuBLAS use TF32: float32 validations take minutes."
    )
    a = p.parse_args()
    env = {"NVIDIA_TF32_OVERRIDE": "1"} if a.tf32 else {}
    a.logs.mkdir(parents=True, exist_ok=True)
    machine = Machine(a.data, a.logs, a.logs)
    names = a.only or sorted(f.stem for f in a.scripts.glob("*.py"))
    if missing := [name for name in names if not (a.scripts / f"{name}.py").is_file()]:
        p.error(f"{a.scripts} has no {missing[0]}.py")
    lock = threading.Lock()
    free: SimpleQueue[int] = SimpleQueue()
    for n in range(a.jobs):
        free.put(n % a.gpus)
    caches = (a.logs / "caches").absolute() if a.shared_caches else None
    began = time.monotonic()

    def one(name: str) -> None:
        left = a.until - (time.monotonic() - began)
        if left < LEAST:
            with lock:
                row(name, "not run", "-")
            return
        gpu = free.get()
        try:
            found = under_torchrun(
                replace(machine, visible=str(gpu)), a.scripts / f"{name}.py", enough=until_step(2),
                patience_s=min(a.patience, left), env=env, caches=caches,
            )  # fmt: skip
        finally:
            free.put(gpu)
        said = "\n".join(f"{t:8.2f} {line}" for t, line in found.lines[-40:])
        (a.logs / f"{name}.txt").write_text(f"{said}\n--- stderr\n{found.errors[-6000:]}\n")
        with lock:
            row(name, outcome(found), ", ".join(map(str, losses(found.lines))) or "-")

    print(f"torch {torch.__version__}, {a.jobs} at once")
    row("script", "outcome", "validation losses")
    row("---", "---", "---")
    with ThreadPoolExecutor(a.jobs) as pool:
        list(pool.map(one, names))


if __name__ == "__main__":
    main()

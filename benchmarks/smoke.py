"""
Measure the gaps of the smoke tasks: steps, training time and CPU time of the four scripts, run in turn.

    python benchmarks/smoke.py --python PYTHON_WITH_TORCH [--rounds 5] [--clock cpu] [--steps 40]

Runs outside a container, so that nothing but torch is needed. Each round runs every script once, with the
round's number as seed, and begins with another script. A gap's figure in standard deviations is the
difference of two means over the root of the sum of both variances.

With `--clock cpu` the scripts' clock is the CPU time of rank 0. On a busy machine it is the better measure:
it leaves out the time that other programs take.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import socket
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from kit.benchmark.records import known_smoke, load
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.data.synth import ensure_smoke, load_smoke
from kit.values.task_id import SMOKE

RECORDS = facts_root() / "records"
LAST = re.compile(r"step:(\d+)/\1 val_loss:([0-9.]+) train_time:(\d+)ms", re.MULTILINE)


@dataclass(frozen=True)
class Timed:
    """One run: its steps, last loss in nats, and seconds of training and of CPU, over both ranks."""

    steps: int
    loss: float
    train_s: float
    cpu_s: float


CPU_CLOCK = """\
import runpy, sys, time
time.perf_counter = time.process_time
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(
    name: str, python: str, data: Path, val_tokens: int, seed: int, clock: Path | None, steps: int | None
) -> Timed:
    """Run a script with two ranks and read its last line; `clock` is a program that replaces its clock."""
    script = RECORDS / "smoke" / name.removeprefix(SMOKE) / "train_gpt2.py"
    scripts = [str(script)] if clock is None else [str(clock), str(script)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [python, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_addr", "127.0.0.1"]
    argv += ["--master_port", str(port), *scripts, "--seed", str(seed)]
    argv += ["--steps", str(steps), "--val-every", str(steps)] if steps else []
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "NANOGPT_TRAIN_FILES": str(data / "fineweb_train_*.bin"),
        "NANOGPT_VAL_FILES": str(data / "fineweb_val_*.bin"),
        "NANOGPT_VAL_TOKENS": str(val_tokens),
    }
    before = _children_s()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    last = LAST.search(done.stdout)
    if done.returncode or last is None:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    record = load(RECORDS, name)
    scale = (record.steps - record.untimed_steps) / (int(last[1]) - record.untimed_steps)
    return Timed(record.steps, float(last[2]), scale * int(last[3]) / 1000, _children_s() - before)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def mean_sd(values: list[float]) -> tuple[float, float]:
    """Return mean and standard deviation; 0 for one value."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def gap(start: list[float], target: list[float]) -> str:
    """Describe the gap between two scripts: the target's share, and the number of standard deviations."""
    (a, sd_a), (b, sd_b) = mean_sd(start), mean_sd(target)
    sd = (sd_a**2 + sd_b**2) ** 0.5
    return f"{b / a:.2f} of the start's, {(a - b) / sd:.1f} sd" if sd else f"{b / a:.2f} of the start's"


def main() -> None:
    """Run, and print one line for each run, script and task."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--python", default="python3", help="interpreter that has torch")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    p.add_argument("--steps", type=int, help="run fewer steps, and scale the training time to the record's")
    p.add_argument("--val-tokens", type=int, default=65_536)
    p.add_argument("names", nargs="*", help="records to run; all by default")
    a = p.parse_args()
    names = a.names or known_smoke(RECORDS)
    runs: dict[str, list[Timed]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as store:
        data = ensure_smoke(load_smoke(RECORDS), Store(Path(store))).folder
        clock = Path(store) / "clock.py" if a.clock == "cpu" else None
        if clock is not None:
            clock.write_text(CPU_CLOCK)
        for seed in range(1, a.rounds + 1):
            turn = (seed - 1) % len(names)
            for name in (*names[turn:], *names[:turn]):
                one = run(name, a.python, data, a.val_tokens, seed, clock, a.steps)
                runs[name].append(one)
                print(
                    f"{name} seed {seed}: {one.steps} steps, loss {one.loss:.4f}, "
                    f"{one.train_s:.2f} s of training, {one.cpu_s:.2f} s of CPU",
                    flush=True,
                )
    for name in names:
        (loss, loss_sd), (train, train_sd), (cpu, cpu_sd) = (
            mean_sd([getattr(r, f) for r in runs[name]]) for f in ("loss", "train_s", "cpu_s")
        )
        print(f"{name}: {runs[name][0].steps} steps, target {load(RECORDS, name).target_val_loss:g}")
        print(f"  loss {loss:.4f} (sd {loss_sd:.4f}), training {train:.2f} s (sd {train_sd:.2f})", end="")
        print(f", CPU {cpu:.2f} s (sd {cpu_sd:.2f})")
    for start, target_name in pairwise(names):
        started, aimed = runs[start], runs[target_name]
        steps = f"{aimed[0].steps / started[0].steps:.2f} of the start's steps"
        trained = gap([r.train_s for r in started], [r.train_s for r in aimed])
        used = gap([r.cpu_s for r in started], [r.cpu_s for r in aimed])
        whole = "" if a.steps else f"; CPU {used}"
        print(f"task {start}: {steps}; training {trained}{whole}")


if __name__ == "__main__":
    main()

"""The speed probe several times, and its spread: `python benchmarks/gpu/probe.py --times 5`."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

from arms import row

from kit.gpu.nvml import Driver
from kit.sandbox.speed_probe import SCRIPT, parse


def main() -> None:
    """Run it as a plain process, with the driver's UUIDs as the kit would give them."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--times", type=int, default=5)
    a = p.parse_args()
    seen = Driver().read()
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in seen.gpus)}
    print(f"{len(seen.gpus)} x {', '.join(sorted({g.name for g in seen.gpus}))}, driver {seen.driver}")
    runs = []
    for _ in range(a.times):
        done = subprocess.run([sys.executable, "-I", str(SCRIPT)], capture_output=True, env=env, check=False)
        if done.returncode:
            print(done.stderr.decode(errors="replace")[-500:])
            continue
        print(done.stdout.decode().strip())
        runs.append(dict(parse(done.stdout, len(seen.gpus))))
    row("figure", "median", "least", "most", "spread")
    row(*["---"] * 5)
    for name in runs[0]:
        values = [run[name] for run in runs]
        middle = statistics.median(values)
        row(
            name,
            f"{middle:.2f}",
            min(values),
            max(values),
            f"{100 * (max(values) - min(values)) / middle:.2f} %",
        )
    print(json.dumps(runs[-1]))


if __name__ == "__main__":
    main()

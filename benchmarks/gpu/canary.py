"""
The canary on an upstream script: `python benchmarks/gpu/canary.py SCRIPT DATA OUT`, SCRIPT being record 3's.

It trains on the machine's shards and validates on a stream whose floor is known: even noise, and samples that
a small model of the kit drew. Three versions of it: as it is, with one line that looks ahead, and with one
that prints a constant. Its options (not its text) make it short. Several run at once, so times say nothing.

Record 3 scores 20 batches, so the streams have as many tokens; the tolerance is the audit's own.
"""

from __future__ import annotations

import argparse
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from arms import Bare, Machine, losses, row, submission, under_torchrun
from shards import stream, uniform, write

from kit.audit.canary import CanaryStream, Rerun, StreamKind, judge
from kit.data import canary_streams
from kit.evaluate.start_script import REFERENCE
from kit.evaluate.streams import SAMPLER
from kit.values.run_result import Point, RunStatus

SEED = "benchmark"
BATCH, LENGTH, SCORED_BATCHES = 8, 1024, 20
SCORED = BATCH * LENGTH * SCORED_BATCHES
STEPS, EVERY = 64, 32
OPTIONS = (
    "--input_bin", "data/fineweb10B/fineweb_train_*.bin",
    "--input_val_bin", "data/fineweb10B/fineweb_val_*.bin",
    "--model", "d12", "--batch_size", str(BATCH), "--sequence_length", str(LENGTH),
    "--val_loss_every", str(EVERY), "--val_max_steps", str(SCORED_BATCHES), "--num_iterations", str(STEPS),
    "--weight_decay", "0.1", "--learning_rate", "0.0018", "--warmup_iters", "8", "--warmdown_iters", "16",
)  # fmt: skip
LEAK = (
    b"        x = rmsnorm(x)\n\n        if targets",
    b"        x = rmsnorm(x) + 3 * rmsnorm(self.transformer.wte(targets))\n\n        if targets",
)
"""The states that the output layer reads hold the embedding of the token to be predicted."""
CONSTANT = (b'print0(f"val loss {val_loss}")', b'print0("val loss 2.9000")')
EAGER = {"TORCH_COMPILE_DISABLE": "1", "TORCHDYNAMO_DISABLE": "1"}
"""Torch's own switches: compiling takes a minute a version, and changes no loss here."""
SAMPLES = (
    "--layers", "4", "--heads", "4", "--width", "256", "--seq-len", "256", "--batch-tokens", "65536",
    "--micro-batch", "256", "--steps", "150", "--val-every", "50", "--no-compile",
)  # fmt: skip


def edited(script: bytes, change: tuple[bytes, bytes]) -> bytes:
    """Return the script with one line changed."""
    if script.count(change[0]) != 1:
        raise SystemExit(f"the script does not have this line once: {change[0]!r}")
    return script.replace(*change)


def drawn_by_a_model(machine: Machine, temperature: str) -> canary_streams.TokenStream:
    """Train the kit's small model and return its samples, as the audit's sampler draws them."""
    folder = machine.out / "sampler"
    folder.mkdir(parents=True, exist_ok=True)
    for file in (REFERENCE, SAMPLER):
        (folder / file.name).write_bytes(file.read_bytes())
    asked = ("--sample-count", str(SCORED), "--sample-length", "256", "--sample-seed", SEED)
    warm = ("--temperatures", temperature, temperature)
    found = under_torchrun(
        machine, folder / SAMPLER.name, (*asked, *warm, *SAMPLES),
        env={"NANOGPT_VAL_TOKENS": "262144", "PYTHONPATH": str(folder)},
    )  # fmt: skip
    (machine.out / "sampler.txt").write_text(
        "\n".join(s for _, s in found.lines if not s.startswith("sample")) + "\n" + found.errors[-3000:]
    )
    return canary_streams.read_samples((s.encode() for _, s in found.lines), SCORED)


def folder_with(machine: Machine, name: str, drawn: canary_streams.TokenStream) -> Path:
    """Return a folder with the training shard and `drawn` as its validation shard."""
    folder = machine.out / f"data-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    train = folder / "fineweb_train_000001.bin"
    train.unlink(missing_ok=True)
    train.symlink_to((machine.data / train.name).resolve())
    write(folder / "fineweb_val_000000.bin", stream(drawn))
    return folder


def points(found: Bare) -> tuple[Point, ...]:
    """Return the validation claims; the script names no step beside them."""
    return tuple(
        Point(min(n * EVERY, STEPS), STEPS, loss, None) for n, loss in enumerate(losses(found.lines))
    )


def main() -> None:
    """Run the versions on both streams and judge them as the audit would."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("script", "data", "out"):
        p.add_argument(name, type=Path)
    p.add_argument("--temperature", default="1.3")
    p.add_argument("--patience", type=float, default=400.0)
    a = p.parse_args()
    machine = Machine(a.data, a.out, a.out)
    a.out.mkdir(parents=True, exist_ok=True)
    own = a.script.read_bytes()
    versions = {"unmodified": own, "looks ahead": edited(own, LEAK), "prints 2.9000": edited(own, CONSTANT)}
    scripts = {
        title: submission(a.out / f"v{n}", data) / "train_gpt2.py"
        for n, (title, data) in enumerate(versions.items())
    }

    def one(title: str, data: Path) -> Bare:
        found = under_torchrun(machine, scripts[title], OPTIONS, patience_s=a.patience, data=data, env=EAGER)
        name = f"{title.replace(' ', '-')}-{data.name}.txt"
        said = "\n".join(f"{t:8.2f} {line}" for t, line in found.lines)
        (a.out / name).write_text(f"{said}\n--- stderr\n{found.errors[-5000:]}\n")
        return found

    with ThreadPoolExecutor(8) as pool:
        even = uniform(SEED, SCORED)
        noise = folder_with(machine, "uniform", even)
        usual = pool.submit(one, "unmodified", a.data)
        jobs = [(t, StreamKind.UNIFORM, even, pool.submit(one, t, noise)) for t in versions]
        text = drawn_by_a_model(machine, a.temperature)
        model = folder_with(machine, "model", text)
        jobs += [(t, StreamKind.MODEL, text, pool.submit(one, t, model)) for t in versions]
        claimed = (losses(usual.result().lines) or [math.nan])[-1]
        row("version", "stream", "floor", "bound", "losses", "verdict")
        row(*["---"] * 6)
        row("unmodified", "the usual shard", "-", "-", losses(usual.result().lines), "-")
        for title, kind, drawn, job in jobs:
            known = CanaryStream(kind, drawn.floor, drawn.standard_error, SCORED, SEED)
            found = job.result()
            status = RunStatus.COMPLETED if found.code == 0 else RunStatus.CRASHED
            finding = judge(known, Rerun(status, points(found), False, found.wall_s), claimed)
            row(title, kind, f"{drawn.floor:.4f}", f"{known.bound:.4f}", losses(found.lines), finding.outcome)


if __name__ == "__main__":
    main()

"""
A record's script in its pinned image: under the kit, and under bare torchrun in the same image.

    python benchmarks/gpu/era.py DATA STORE OUT ERA SUBMISSION --record 20 [--seconds 420] [--gpus 1]

With two GPUs on the machine and `--gpus 1` both run at once, the kit's run on GPU 0. SUBMISSION is a folder
that `speedrun record fetch` made; both arms run it, so STORE needs no log of the record. Needs root. The bare
run sees the image's files read-only below a changed root, the same driver files and environment, and none of
the kit's limits, seccomp filter or watchdog. Ctrl-C and SIGTERM end both, and what they printed is compared.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import tomllib
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
    read_until,
    row,
    train_times,
    under_the_kit,
    until_step,
)

from kit.benchmark import records
from kit.cli import EXIT_CODES
from kit.core.errors import KitError, PrerequisiteError
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.data.synth import load_smoke
from kit.evaluate.launch import PORT, script_environment
from kit.gpu.driver import LIBRARY_FOLDERS, environment, find_driver_files
from kit.gpu.nvml import Driver
from kit.image.build import ensure_layout
from kit.image.rootfs import ensure_rootfs

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
VAL_TOKENS = 10_485_760
WARM = 20
"""The first step that counts: the script's own clock begins anew at 10."""
ROOM_S = 20.0
"""What the kit's run gets beyond the bare one's: its probes come before the guest."""


def require_image(era: str, store: Path) -> None:
    """Raise `PrerequisiteError` if the store has neither the era's image nor all packages to build it."""
    try:
        ensure_layout(era, facts_root() / "images", Store(store), ())
    except PrerequisiteError as e:
        carry = Path(__file__).with_name("carry.py")
        hint = f"python {shlex.quote(str(carry))} unpack DIR {shlex.quote(str(store))}"
        raise PrerequisiteError(f"image {era} is not in {store}", hint) from e


def bare_in_image(machine: Machine, submission: Path, entry: str, last: int, patience_s: float) -> Bare:
    """Run the script `entry` under torchrun in the image's files until step `last`."""
    store = Store(machine.store)
    layout = ensure_layout(machine.image, facts_root() / "images", store, ())
    rootfs = ensure_rootfs(layout, store)
    terms = tomllib.loads((submission / "run.toml").read_text()) if (submission / "run.toml").exists() else {}
    smoke = machine.profile == "smoke"
    tokens = load_smoke(facts_root() / "records").val_tokens if smoke else VAL_TOKENS
    env = dict(layout.env) | dict(script_environment(tokens, terms.get("env", {})))
    mounts: list[tuple[Path, Path]] = []
    if machine.gpus:
        minors = tuple(gpu.minor for gpu in Driver().read().gpus)
        mounts = [(a, Path(b)) for a, b in find_driver_files(minors, folders=LIBRARY_FOLDERS).mounts()]
        env = dict(environment(tuple(env.items())))
        env["CUDA_VISIBLE_DEVICES"] = machine.visible or ",".join(map(str, range(machine.gpus)))
    with tempfile.TemporaryDirectory(prefix="bare-") as name:
        folder = Path(name)
        for file in submission.glob("*.py"):
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "data" / "fineweb10B").mkdir(parents=True)
        (folder / "logs").mkdir()
        argv = [
            "torchrun", "--nnodes=1", f"--nproc_per_node={max(machine.gpus, 1)}", "--master_addr=127.0.0.1",
            f"--master_port={PORT + 1}", entry, *terms.get("args", ()),
        ]  # fmt: skip
        script = _enter(rootfs, folder, machine.data, mounts, env, argv)
        argv = ["unshare", "--mount", "sh", "-euc", script]
        done = read_until(argv, folder, {"PATH": SYSTEM_PATH}, until_step(last), patience_s, machine.budget)
    (machine.out / "bare.log").write_text("".join(f"{t:9.3f}  {text}\n" for t, text in done.lines))
    print(f"bare torchrun ended after {done.wall_s:.1f} s: its GPU is free", flush=True)
    return done


def _enter(
    rootfs: Path,
    folder: Path,
    data: Path,
    mounts: list[tuple[Path, Path]],
    env: dict[str, str],
    argv: list[str],
) -> str:
    """Return the shell commands that go into the image, in a mount namespace of their own."""
    q, root = shlex.quote, "/mnt"
    lines = [
        "mount --make-rprivate /",
        f"mount --bind {q(str(rootfs))} {root}",
        f"mount -o remount,bind,ro {root}",
        f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev", f"mount --rbind /sys {root}/sys",
        f"mount -t tmpfs tmpfs {root}/tmp", f"mount -t tmpfs tmpfs {root}/input",
        f"mount --bind {q(str(folder))} {root}/workspace",
        f"mount --bind {q(str(data))} {root}/workspace/data/fineweb10B",
    ]  # fmt: skip
    for here, inside in mounts:
        target = q(f"{root}{inside}")
        lines += [f"mkdir -p $(dirname {target})", f"touch {target}", f"mount --bind {q(str(here))} {target}"]
    given = " ".join(q(f"{k}={v}") for k, v in sorted(env.items()))
    inner = f"cd /workspace; exec env -i {given} {shlex.join(argv)}"
    return "; ".join([*lines, f"exec chroot {root} /bin/sh -c {q(inner)}"])


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
        print(f"error: {e.message}" + (f"\nhint: {e.hint}" if e.hint else ""), file=sys.stderr)
        return next(code for kind, code in EXIT_CODES if isinstance(e, kind))
    a.out.mkdir(parents=True, exist_ok=True)
    here = Machine(a.data, a.store, a.out, a.runtime, a.era, a.gpus, profile=a.profile)
    here = replace(here, budget=Budget(2 * a.seconds + GRACE_S))
    lanes = a.gpus == 1 and len(Driver().read().gpus) > 1
    kit, other = (replace(here, visible="0"), replace(here, visible="1")) if lanes else (here, here)
    limits = [f"--{clock}-deadline={a.seconds - ROOM_S:g}" for clock in ("start", "warmup", "total")]
    with ThreadPoolExecutor(2 if lanes else 1) as pool:
        bare = pool.submit(bare_in_image, other, a.submission, entry, a.last, a.seconds)
        kitted = pool.submit(under_the_kit, kit, a.record, *limits, submission=a.submission)
        compare(bare.result(), kitted.result())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

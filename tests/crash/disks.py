"""Faults of disks: full or read-only."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import killing
import storing
import workbench
from fault import NO_GUEST, QUICK, CommandResult, Fault, FaultOutcome, ended, one_run
from workbench import Bench

from kit.core.home import default_store


@contextlib.contextmanager
def disk(where: Path, size: int) -> Iterator[None]:
    """Mount a disk of `size` bytes at `where` for the block."""
    where.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


def full_runs_folder(bench: Bench) -> FaultOutcome:
    """Fill the disk of the runs directory: before the reservation, while the guest prints, at the end."""
    loud = QUICK + "print('x' * 60000)\n" * 12
    wrong, said, codes = [], set(), {}
    for kib in (4, 64, 256, 320, 400, 600, 900, 4096):
        out = bench.out()
        with disk(out, kib << 10):
            done = ended(bench, bench.command(out, script=loud))
            codes[kib] = done.code
            wrong += [f"{kib} KiB: {w}" for w in done.wrong(1, 5)]
            if done.code == 5:
                said.add(re.sub(r" of /.*", " of …", done.error.removeprefix("error: ")))
            ids = killing.reserved(out)
            if killing.await_gone(bench, ids, time.monotonic()) is None:
                wrong.append(f"{kib} KiB: left: {killing.left_of(bench, ids)}")
            at_once = [(out / i / "result.json").exists() for i in ids]
            if not all(at_once):
                wrong.append(f"{kib} KiB: no room was left for the record")
            subprocess.run(["mount", "-o", "remount,size=64m", str(out)], check=True)
            if ids:
                wrong += [f"{kib} KiB: {w}" for w in one_run(bench, out, ("lost", "completed"))]
    full = sum(code == 5 for code in codes.values())
    if not full or codes[4096] != 1 or len(said) != 1:
        wrong.append(f"exit codes by size: {codes}; {said}")
    return FaultOutcome(
        "The disk of the runs directory is full (tmpfs of 4 KiB to 4 MiB)",
        f"{full} of {len(codes)} sizes are too small: exit 5, `{'; '.join(sorted(said))}`; every reserved run has its record at once",
        tuple(wrong),
    )  # fmt: skip


def full_store(bench: Bench) -> FaultOutcome:
    """Fill the disk of the store while an image is fetched, built and unpacked."""
    folder = bench.folder / "full-store"
    folder.mkdir()
    era = storing.tiny(folder)
    wrong, codes = [], {}
    for kib in (4, 64, 512, 1500, 2500, 4000, 6000, 16384):
        mine = storing.Tiny(era.images, era.mirror, folder / f"disk-{kib}")
        with disk(mine.store, kib << 10):
            done = mine.build()
            codes[kib] = done.returncode
            if "Traceback" in done.stderr or done.returncode not in (0, 5):
                wrong.append(f"{kib} KiB: exit {done.returncode}: {done.stderr[-300:]}")
            if done.returncode == 5 and "no space left" not in done.stderr:
                wrong.append(f"{kib} KiB: {done.stderr[-300:]}")
            wrong += storing.faults(mine.store)
            subprocess.run(["mount", "-o", "remount,size=64m", str(mine.store)], check=True)
            wrong += storing.usable(mine)
    full = sum(code == 5 for code in codes.values())
    if codes[16384] != 0 or not full:
        wrong.append(f"exit codes by size: {codes}")
    return FaultOutcome(
        "The disk of the store is full (tmpfs of 4 KiB to 16 MiB)",
        f"{full} of {len(codes)} sizes are too small: exit 5, naming the disk; no blob is corrupt; with free space the same build succeeds",
        tuple(wrong),
    )  # fmt: skip


def read_only_home(bench: Bench) -> FaultOutcome:
    """Run with a read-only home directory."""
    home = bench.folder / "home"
    home.mkdir()
    inside = f'mount --bind {home} {home} && mount -o remount,ro,bind {home} && exec "$@"'
    wall = ("unshare", "--mount", "sh", "-c", inside, "sh")
    env = {"HOME": str(home), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""}
    out = bench.out()
    command = bench.command(out, script=QUICK)
    at = command.index("--keys")
    del command[at : at + 2]
    refused = ended(bench, command, wall, **env)
    wrong = refused.wrong(3)
    filled = ("--store", str(default_store()))
    made = ended(bench, bench.command(out, "-", "kill", *filled, script=QUICK), wall, **env)
    wrong += [*made.wrong(1), *one_run(bench, out)]
    if "Read-only" not in refused.said or "--store" not in refused.said:
        wrong.append(refused.said[-300:])
    return FaultOutcome(
        "HOME is read-only",
        "exit 3 before anything is reserved: "
        f"`{refused.error[7:].replace(str(home), '~')[:80]}`; with --store and --keys the run succeeds",
        tuple(wrong),
    )


def full_engine(bench: Bench) -> FaultOutcome:
    """Fill the disk of the Docker daemon: while it loads an image, and before it creates a container."""
    daemon = workbench.own_daemon()
    data = daemon.base / "data"
    folder = bench.folder / "full-engine"
    folder.mkdir()
    mine = Bench(folder, workbench.Engine("docker", daemon.url), daemon=daemon)
    try:
        data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(data)], check=True)
        daemon.start()
        unloaded = ended(mine, list(workbench.LOAD))
        wrong = [*unloaded.wrong(5), *_unless_disk(unloaded)]
        subprocess.run(["mount", "-o", "remount,size=4g", str(data)], check=True)
        wrong += ended(mine, list(workbench.LOAD)).wrong(0)
        _fill(data / "filler")
        out = mine.out()
        refused = ended(mine, mine.command(out, script=QUICK))
        wrong += [*refused.wrong(5), *_unless_disk(refused), *one_run(mine, out, ("lost",))]
        (data / "filler").unlink()
        out = mine.out()
        wrong += [*ended(mine, mine.command(out, script=QUICK)).wrong(1), *one_run(mine, out)]
    finally:
        daemon.stop()
    return FaultOutcome(
        "The disk of the Docker daemon is full",
        f"`image load` exits with {unloaded.code}, a run with {refused.code}, both naming the disk; "
        "the record says lost; with free space both succeed",
        tuple(wrong),
    )


def _fill(file: Path) -> None:
    """Fill a disk to the last byte."""
    with file.open("wb", buffering=0) as f, contextlib.suppress(OSError):
        while True:
            f.write(bytes(1 << 16))


def _unless_disk(done: CommandResult) -> list[str]:
    return [] if "no space left" in done.error else [f"the disk is not named: {done.said[-300:]}"]


FAULTS = (
    Fault(full_runs_folder),
    Fault(full_store, (NO_GUEST,)),
    Fault(read_only_home),
    Fault(full_engine, ("docker",)),
)

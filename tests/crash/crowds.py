"""Faults of load: concurrent commands and builds, large output, many records."""

from __future__ import annotations

import os
import shutil
import time

import killing
import storing
import workbench
from bundles import press
from fault import NO_GUEST, QUICK, SPEEDRUN, Fault, FaultOutcome, ended, one_run
from workbench import REPOSITORY, Bench

from kit.leaderboard.submit.entry import BoardEntry, write_submission
from kit.result.keys import Signer, Trusted, load_or_create, trusted
from kit.result.verify import open_bundle


def two_runs_at_once(bench: Bench) -> FaultOutcome:
    """Run two evaluations at once that share store, runs directory and a key directory not yet created."""
    out = bench.out()
    keys = bench.folder / "fresh-keys"
    again = [*bench.command(out, script=QUICK), "--keys", str(keys)]
    both = [bench.start(again) for _ in range(2)]
    said = [p.communicate(timeout=killing.LIMIT_S)[1] for p in both]
    wrong = [
        f"exit {p.returncode}: {text[-300:]}" for p, text in zip(both, said, strict=True) if p.returncode != 1
    ]
    ids = killing.reserved(out)
    signers = {open_bundle(out / i, trusted(keys)).key_id for i in ids}
    if len(ids) != 2 or len(signers) != 1 or killing.litter(out):
        wrong.append(f"{len(ids)} runs, {len(signers)} keys, {killing.litter(out)}")
    return FaultOutcome("Two concurrent evaluations with one store, key directory and runs directory",
                 f"{len(ids)} records, one key, nothing left over", tuple(wrong))  # fmt: skip


def two_builds_at_once(bench: Bench) -> FaultOutcome:
    """Start three builds of one era at the same time on an empty store."""
    folder = bench.folder / "at-once"
    folder.mkdir()
    codes, wrong = storing.at_once(folder, 3)
    if codes != [0, 0, 0]:
        wrong.append(f"exit codes {codes}")
    return FaultOutcome(
        "Three concurrent builds of one era on one empty store",
        "each exits with 0; every blob matches its digest",
        tuple(wrong),
    )


def two_first_runs_at_once(bench: Bench) -> FaultOutcome:
    """Start two evaluations at the same time on a Docker daemon without the image."""
    with workbench.empty_engine(bench) as empty:
        out = empty.out()
        both = [empty.start(empty.command(out, script=QUICK)) for _ in range(2)]
        said = [p.communicate(timeout=killing.LIMIT_S)[1] for p in both]
        wrong = [
            f"exit {p.returncode}: {text[-300:]}"
            for p, text in zip(both, said, strict=True)
            if p.returncode != 1
        ]
        ids = killing.reserved(out)
        wrong += one_run(empty, out)
    return FaultOutcome(
        "Two concurrent evaluations on a Docker daemon without the image",
        f"both load the image, {len(ids)} records, nothing left over",
        tuple(wrong if len(ids) == 2 else [*wrong, f"{len(ids)} runs"]),
    )


def loud_guest(bench: Bench) -> FaultOutcome:
    """Run a guest that prints 2 GiB as fast as it can."""
    out = bench.out()
    script = "import os\nblock = (b'y' * 127 + b'\\n') * 8192\nfor _ in range(2048): os.write(1, block)\n"
    done = ended(bench, bench.command(out, script=script))
    wrong = [*done.wrong(1), *one_run(bench, out, ("output_limit",))]
    folder = out / killing.reserved(out)[0]
    size = (folder / "guest.log").stat().st_size
    began = time.monotonic()
    verified = ended(bench, [*SPEEDRUN, "bundle", "verify", str(folder), "--keys", str(bench.keys)])
    wrong += verified.wrong(0)
    took = time.monotonic() - began
    limit = 64 << 20
    if size > limit or done.peak > 1 << 30:
        wrong.append(f"{size} bytes, {done.peak >> 20} MiB")
    p = open_bundle(folder, trusted(bench.keys)).predicate.observations
    return FaultOutcome(
        "A guest prints 2 GiB as fast as it can",
        f"killed at {size / 2**20:.0f} MiB after {p.wall_s:.1f} s; speedrun used {done.peak >> 20} MiB of memory; "
        f"verification takes {took:.1f} s and {verified.peak >> 20} MiB",
        tuple(wrong),
    )


def large_log_beside_a_bundle(bench: Bench) -> FaultOutcome:
    """Verify a bundle from another user with a log of 2 GiB next to it."""
    folder = bench.folder / "large"
    shutil.copytree(REPOSITORY / "tests" / "assets" / "bundles", folder / "run")
    (folder / "run" / "good.json").rename(folder / "run" / "result.json")
    os.truncate(folder / "run" / "guest.log", 2 << 30)
    done = ended(bench, [*SPEEDRUN, "bundle", "verify", str(folder / "run")])
    wrong = done.wrong(4)
    if done.peak > 512 << 20 or "larger than" not in done.said:
        wrong.append(f"{done.peak >> 20} MiB: {done.said[-200:]}")
    return FaultOutcome(
        "A log of 2 GiB next to another user's bundle",
        f"exit 4 after {done.took_s:.1f} s with {done.peak >> 20} MiB of memory: refused without reading the log",
        tuple(wrong),
    )


def many_bundles(bench: Bench, count: int = 10_000, on_board: int = 1_000) -> FaultOutcome:
    """Use a runs directory with 10,000 records and a board with 1,000 submissions."""
    out, board = bench.folder / "many", bench.folder / "board"
    signer = trusted_by(bench, press.MAKE.SIGNER)
    pressed = [press.press(out, press.Sample(n)) for n in range(count)]
    for folder in pressed[:on_board]:
        write_submission(open_bundle(folder, signer), BoardEntry("agent", None, (), None, None, None), board)
    bundles = [str(folder) for folder in pressed]
    few, many = (ended(bench, bench.command(where, script=QUICK)) for where in (bench.out(), out))
    wrong = [*few.wrong(1), *many.wrong(1)]
    times = [f"eval {many.took_s:.1f} s ({few.took_s:.1f} s in an empty folder)"]
    for name, command, codes in (
        ("doctor", ["doctor", "--out", str(out)], (0, 3)),
        ("bundle verify", ["bundle", "verify", *bundles, "--keys", str(bench.keys)], (0,)),
        ("score", ["score", *bundles, "--keys", str(bench.keys)], (0, 1)),
        (f"report of {on_board:,}", ["report", str(board), "--keys", str(bench.keys), "--out", str(out / "site")], (0,)),
    ):  # fmt: skip
        done = ended(bench, [*SPEEDRUN, *command])
        wrong += [f"{name}: {w}" for w in done.wrong(*codes)]
        times.append(f"{name} {done.took_s:.1f} s, {done.peak >> 20} MiB")
    return FaultOutcome(f"A runs directory with {count:,} records", "; ".join(times), tuple(wrong))


def trusted_by(bench: Bench, signer: Signer) -> Trusted:
    """Add a signer to the bench's trusted keys, and return these keys."""
    load_or_create(bench.keys)
    (bench.keys / "press.pem").write_bytes(signer.public.pem)
    return trusted(bench.keys)


FAULTS = (
    Fault(two_runs_at_once),
    Fault(two_first_runs_at_once, ("docker",)),
    Fault(two_builds_at_once, (NO_GUEST,)),
    Fault(loud_guest),
    Fault(large_log_beside_a_bundle, (NO_GUEST,)),
    Fault(many_bundles, ("runc",)),
)

"""What else can go wrong around a kit: each fault is made for real, and says in one line what came of it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import killing
import storing
from killing import REPOSITORY, Bench, look

from kit.bundle.keys import Signer, Trusted, load_or_create, trusted
from kit.bundle.verify import open_bundle
from kit.run import processes
from kit.series.record import read
from kit.submit.entry import Entry, lay_out

SPEEDRUN = (sys.executable, "-m", "kit.cli")
QUICK = killing.GUEST.replace("0.4", "0.05")


@dataclass(frozen=True)
class Found:
    """What came of one fault."""

    fault: str
    came: str
    """One line with figures, for people."""
    wrong: tuple[str, ...]
    """What should not be so; empty is the promise."""


Fault = Callable[[Bench], Found]


@dataclass(frozen=True)
class Ended:
    """One command that ended."""

    code: int
    said: str
    took_s: float
    peak: int
    """Bytes of memory that it had at most, without its children."""

    def wrong(self, *codes: int) -> list[str]:
        """Name what no command may do, whatever the fault: show a traceback, or end with another code."""
        found = [f"a traceback: {self.said[-400:]}"] if "Traceback" in self.said else []
        return found + ([] if self.code in codes else [f"exit {self.code}: {self.said[-400:]}"])

    @property
    def error(self) -> str:
        """The first line of what it complained of."""
        return next((line for line in self.said.splitlines() if line.startswith("error:")), "")


def ended(bench: Bench, command: list[str], wrap: tuple[str, ...] = (), **env: str) -> Ended:
    """Run a command to its end."""
    began, peak = time.monotonic(), 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*wrap, *command], env={**bench.engine.env, **env}, stdout=said, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            peak = max(peak, _peak(process.pid))
            time.sleep(0.02)
        said.seek(0)
        text = said.read().decode(errors="replace")
    return Ended(process.returncode, text, time.monotonic() - began, peak)


def _peak(pid: int) -> int:
    """The most memory that a process has had; what the kernel counts for children begins with the parent's."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) << 10
    return 0


def one_run(bench: Bench, out: Path, verdicts: tuple[str, ...] = ("completed",)) -> list[str]:
    """Look at the runs below `out` once the next kit has; name what is wrong."""
    found = look(bench, out, "", time.monotonic())
    odd = (
        []
        if all(s in verdicts for s in found.statuses) and found.statuses
        else [f"records: {found.statuses}"]
    )
    return [*found.wrong, *odd]


@contextlib.contextmanager
def disk(where: Path, size: int) -> Iterator[None]:
    """A disk of so many bytes at `where`; gone afterwards."""
    where.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


def full_runs_folder(bench: Bench) -> Found:
    """The disk of the runs folder is full: at once, in the reservation, while the guest prints, at the end."""
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
            if killing.await_gone(ids, time.monotonic()) is None:
                wrong.append(f"{kib} KiB: left: {killing.left_of(ids)}")
            at_once = [(out / i / "result.json").exists() for i in ids]
            if not all(at_once):
                wrong.append(f"{kib} KiB: no room was left for the record")
            subprocess.run(["mount", "-o", "remount,size=64m", str(out)], check=True)
            if ids:
                wrong += [f"{kib} KiB: {w}" for w in one_run(bench, out, ("lost", "completed"))]
    full = sum(code == 5 for code in codes.values())
    if not full or codes[4096] != 1 or len(said) != 1:
        wrong.append(f"exit codes by size: {codes}; {said}")
    return Found(
        "The disk of the runs folder is full (tmpfs of 4 KiB to 4 MiB)",
        f"{full} of {len(codes)} sizes too small: exit 5, `{'; '.join(sorted(said))}`, every reserved run has its record at once",
        tuple(wrong),
    )  # fmt: skip


def full_store(bench: Bench) -> Found:
    """The disk of the store is full while an image is fetched, built and unpacked."""
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
    return Found(
        "The disk of the store is full (tmpfs of 4 KiB to 16 MiB)",
        f"{full} of {len(codes)} sizes too small: exit 5, naming the disk; no blob is wrong, and with room the same build ends well",
        tuple(wrong),
    )  # fmt: skip


def clock_set_back(bench: Bench) -> Found:
    """The wall clock goes back a year while the run is on."""
    out = bench.out()
    done = ended(bench, bench.command(out, "clock", script=QUICK))
    wrong = [*done.wrong(1), *one_run(bench, out)]
    p = open_bundle(out / killing.reserved(out)[0], trusted(bench.keys)).predicate
    took = p.observations.wall_s
    if not 0 < took < 60:
        wrong.append(f"{took} s")
    return Found(
        "The wall clock is set back by a year during a run",
        f"deadlines and times are the monotonic clock's: {took:.1f} s; the record verifies and says {p.run.started_at[:10]}",
        tuple(wrong),
    )  # fmt: skip


def no_network(bench: Bench) -> Found:
    """There is no network: neither names nor addresses."""
    out, wall = bench.out(), ("unshare", "--net")
    done = ended(bench, bench.command(out, script=QUICK), wall)
    wrong = [*done.wrong(1), *one_run(bench, out)]
    empty = bench.folder / "empty-store"
    out = bench.out()
    lacking = ended(bench, bench.command(out, "-", "kill", "--store", str(empty), script=QUICK), wall)
    wrong += lacking.wrong(3, 5)
    if killing.reserved(out) or lacking.took_s > 120:
        wrong.append(f"{lacking.took_s:.0f} s, {killing.reserved(out)}")
    return Found(
        "No network and no DNS (`unshare --net`)",
        f"with a filled store the run is made; with an empty one exit {lacking.code} after {lacking.took_s:.0f} s, "
        "naming the file and its source; nothing is reserved",
        tuple(wrong),
    )


def two_runs_at_once(bench: Bench) -> Found:
    """Two evaluations share store, keys and runs folder, from the first use of the keys on."""
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
    return Found("Two evaluations at once on one store, key folder and runs folder",
                 f"{len(ids)} records, one key, nothing left over", tuple(wrong))  # fmt: skip


def two_builds_at_once(bench: Bench) -> Found:
    """Three builds of one era begin at the same time on an empty store."""
    folder = bench.folder / "at-once"
    folder.mkdir()
    codes, wrong = storing.at_once(folder, 3)
    if codes != [0, 0, 0]:
        wrong.append(f"exit codes {codes}")
    return Found(
        "Three builds of one era at once on one empty store",
        "each ends with 0; every blob is what its name says",
        tuple(wrong),
    )


def read_only_home(bench: Bench) -> Found:
    """The user's home folder cannot be written."""
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
    store = Path.home() / ".cache" / "speedrun-kit"
    made = ended(bench, bench.command(out, "-", "kill", "--store", str(store), script=QUICK), wall, **env)
    wrong += [*made.wrong(1), *one_run(bench, out)]
    if "Read-only" not in refused.said or "--store" not in refused.said:
        wrong.append(refused.said[-300:])
    return Found(
        "HOME is read-only",
        "exit 3 before anything is reserved: "
        f"`{refused.error[7:].replace(str(home), '~')[:80]}`, try --store, --keys; with them the run is made",
        tuple(wrong),
    )


def loud_guest(bench: Bench) -> Found:
    """A guest prints two gigabytes as fast as it can."""
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
    return Found(
        "A guest prints 2 GiB as fast as it can",
        f"ended at {size / 2**20:.0f} MiB after {p.wall_s:.1f} s; the kit needed {done.peak >> 20} MiB of memory; "
        f"verifying takes {took:.1f} s and {verified.peak >> 20} MiB",
        tuple(wrong),
    )


def large_log_beside_a_bundle(bench: Bench) -> Found:
    """Somebody sends a bundle with a log of two gigabytes beside it."""
    folder = bench.folder / "large"
    shutil.copytree(REPOSITORY / "tests" / "assets" / "bundles", folder / "run")
    (folder / "run" / "good.json").rename(folder / "run" / "result.json")
    os.truncate(folder / "run" / "guest.log", 2 << 30)
    done = ended(bench, [*SPEEDRUN, "bundle", "verify", str(folder / "run")])
    wrong = done.wrong(4)
    if done.peak > 512 << 20 or "larger than" not in done.said:
        wrong.append(f"{done.peak >> 20} MiB: {done.said[-200:]}")
    return Found(
        "A log of 2 GiB beside somebody's bundle",
        f"exit 4 after {done.took_s:.1f} s with {done.peak >> 20} MiB of memory: refused unread",
        tuple(wrong),
    )


def slow_guest(bench: Bench) -> Found:
    """A guest prints nothing for long, or a line a second: only the clocks that were set end it."""
    steady = "import time\nfor s in range(0, 11):\n    print(f'step:{s}/10 train_time:{s}ms step_avg:1.00ms', flush=True); time.sleep(1)\n"
    drip = "import sys, time\nwhile True:\n    sys.stdout.write('.'); sys.stdout.flush(); time.sleep(0.2)\n"
    out = bench.out()
    patient = ended(bench, bench.command(out, "-", "kill", "--stall-deadline", "5", script=steady))
    wrong = [*patient.wrong(1), *one_run(bench, out)]
    out = bench.out()
    ended_by = ended(bench, bench.command(out, "-", "kill", "--start-deadline", "3", script=drip))
    wrong += [*ended_by.wrong(1), *one_run(bench, out, ("timed_out",))]
    p = open_bundle(out / killing.reserved(out)[0], trusted(bench.keys)).predicate
    if not 3 <= p.observations.wall_s < 4:
        wrong.append(f"ended after {p.observations.wall_s} s")
    return Found(
        "A guest that is very slow",
        f"a line each second for 11 s is let be; one that never ends its first line is ended by the start clock of 3 s at {p.observations.wall_s:.2f} s",
        tuple(wrong),
    )  # fmt: skip


def many_bundles(bench: Bench, count: int = 10_000, on_board: int = 1_000) -> Found:
    """A runs folder holds ten thousand records, a board a thousand submissions."""
    sys.path.insert(0, str(REPOSITORY / "tests" / "assets" / "bundles"))
    import press

    out, board = bench.folder / "many", bench.folder / "board"
    signer = trusted_by(bench, press.MAKE.SIGNER)
    pressed = [press.press(out, press.Sample(n)) for n in range(count)]
    for folder in pressed[:on_board]:
        lay_out(open_bundle(folder, signer), Entry("agent", None, (), None, None, None), board)
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
    return Found(f"A runs folder with {count:,} records", "; ".join(times), tuple(wrong))


def trusted_by(bench: Bench, signer: Signer) -> Trusted:
    """Let the bench trust a signer, and return all that it trusts."""
    load_or_create(bench.keys)
    (bench.keys / "press.pem").write_bytes(signer.public.pem)
    return trusted(bench.keys)


def series_killed(bench: Bench) -> Found:
    """The kit is killed in the second run of a series of four."""
    out = bench.out()
    process = bench.start(bench.command(out, "-", "kill", "--runs", "4"))
    while len(killing.reserved(out)) < 2 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    later = ended(bench, bench.command(out, script=QUICK))
    wrong = [*later.wrong(1), *one_run(bench, out, ("lost", "completed"))]
    (series,) = out.glob("s03-*")
    shown = ended(bench, [*SPEEDRUN, "series", str(series), "--keys", str(bench.keys)])
    wrong += shown.wrong(0, 1)
    body = read(series / "series.json", trusted(bench.keys))[0]
    if len(body.ended.not_started) != 2:
        wrong.append(f"never started: {body.ended.not_started}")
    return Found(
        "The kit is killed in the second of a series' four runs",
        "the next `eval` signs both runs' records and the series': one completed, one lost, two named as never started",
        tuple(wrong),
    )  # fmt: skip


def watcher_killed_too(bench: Bench) -> Found:
    """Kit and watcher are killed together, while the guest runs."""
    out = bench.out()
    process = bench.start(bench.command(out, script=killing.GUEST + "time.sleep(600)\n"))
    while process.poll() is None and not any(
        (out / i / "guest.log").read_bytes() for i in killing.reserved(out)
    ):
        time.sleep(0.02)
    (run_id,) = killing.reserved(out)
    watchers = [
        p for p in processes.pids() if "kit.run.watcher" in killing.line(p) and run_id in killing.line(p)
    ]
    processes.kill_all([*watchers, process.pid])
    process.communicate()
    time.sleep(killing.WITHIN_S)
    lives = bool(killing.left_of([run_id]))
    began = time.monotonic()
    wrong = [] if len(watchers) == 1 else [f"{len(watchers)} watchers"]
    killing.close(bench, out)
    took = time.monotonic() - began
    wrong += one_run(bench, out, ("lost",))
    spelled = "the guest lives on until" if lives else "the guest is gone before"
    return Found(
        "Kit and watcher are killed together",
        f"{spelled} the next `eval` or `doctor --fix`, which takes {took:.1f} s to end it and to sign the record",
        tuple(wrong),
    )


def engine_killed(bench: Bench) -> Found:
    """The Docker daemon is killed under a guest."""
    sys.path.insert(0, str(REPOSITORY / "tests" / "integration"))
    from dockerd import Dockerd

    daemon: Dockerd = bench.daemon
    out = bench.out()
    process = bench.start(bench.command(out, script=killing.GUEST + "time.sleep(600)\n"))
    deadline = time.monotonic() + 60
    while (
        not any((out / i / "guest.log").read_bytes() for i in killing.reserved(out))
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    began = time.monotonic()
    daemon.signal(signal.SIGKILL)
    _, said = process.communicate(timeout=killing.LIMIT_S)
    took = time.monotonic() - began
    wrong = (
        []
        if process.returncode == 5 and "Traceback" not in said
        else [f"exit {process.returncode}: {said[-300:]}"]
    )
    wrong += [f"left: {name}" for name in daemon.guests()]
    daemon.start()
    wrong += one_run(bench, out, ("lost",))
    return Found(
        "dockerd is killed under a guest",
        f"exit 5 after {took:.1f} s, no process is left, the record says lost",
        tuple(wrong),
    )


FAULTS: tuple[Fault, ...] = (
    full_runs_folder, full_store, clock_set_back, no_network, two_runs_at_once, two_builds_at_once, read_only_home,
    series_killed, watcher_killed_too, loud_guest, large_log_beside_a_bundle, slow_guest, many_bundles,
)  # fmt: skip
OF_DOCKER: tuple[Fault, ...] = (engine_killed,)

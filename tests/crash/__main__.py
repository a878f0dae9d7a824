"""
Run the crash table:

    PYTHONPATH=tests/assets python tests/crash [--runtime runc] [--only PART ...] [--times 50] [--record]

Parts: points, random, writes, full-writes, store, full-store, faults, or the name of one fault. Exits with
1 if a test fails. `--record` stores the outcomes in docs/reference/crash.json and writes
docs/reference/crash.md from them. Needs root, to mount small disks and to create namespaces.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import crash_page
import dying
import faults
import killing
import storing
import workbench
from fault import NO_GUEST, FaultOutcome
from killing import KillOutcome
from workbench import Bench

PARTS = ("points", "random", "writes", "full-writes", "store", "full-store", "faults")


def _points(bench: Bench, times: int) -> Iterator[KillOutcome]:
    return (killing.at_point(bench, point) for point in dying.POINTS)


def _random(bench: Bench, times: int) -> Iterator[KillOutcome]:
    longest = killing.duration(bench)
    return (killing.at_random(bench, longest) for _ in range(times))


def _writes(bench: Bench, times: int) -> Iterator[KillOutcome]:
    return killing.at_each_write(bench, "kill")


def _full_writes(bench: Bench, times: int) -> Iterator[KillOutcome]:
    return killing.at_each_write(bench, "full")


KILLS = {"points": _points, "random": _random, "writes": _writes, "full-writes": _full_writes}


def _tell(name: str, wrong: tuple[str, ...], came: str) -> None:
    sys.stderr.write(f"{'FAILED' if wrong else 'ok':<7}{name:<58}{came}  {'; '.join(wrong)}\n")
    sys.stderr.flush()


def _kills(bench: Bench, part: str, times: int) -> tuple[list[KillOutcome], int]:
    found = []
    for one in KILLS[part](bench, times):
        _tell(
            f"{part}: {one.moment}",
            one.wrong,
            f"{one.gone_s:.2f} s  {', '.join(one.statuses) or 'nothing reserved'}",
        )
        found.append(one)
    return found, sum(bool(one.wrong) for one in found)


def _store(part: str) -> tuple[FaultOutcome, int]:
    action = "full" if part == "full-store" else "kill"
    codes: collections.Counter[int] = collections.Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="crash-store-") as name:
        for number, code, odd in storing.every_write(Path(name), action):
            codes[code] += 1
            wrong += [f"write {number}: {w}" for w in odd]
            if number % 20 == 0:
                _tell(f"{part}: {number} disk operations", tuple(wrong), str(dict(codes)))
    count = sum(codes.values())
    what = "SIGKILL" if action == "kill" else "disk full"
    title = f"Build of an image and its root file system: {what} at each of the {count} disk operations"
    exits = ", ".join(f"{n} x exit {code}" for code, n in sorted(codes.items()))
    came = f"each time the store is intact and the next build succeeds ({exits})"
    return FaultOutcome(title, came, tuple(wrong[:5])), len(wrong)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--runtime", default="runc", choices=["runc", "docker"])
    p.add_argument("--only", nargs="*", default=[], help="parts or names of faults")
    p.add_argument("--times", type=int, default=50, help="number of random kills")
    p.add_argument("--record", action="store_true", help="store the outcomes and write the page")
    a = p.parse_args()
    named = {f.name: f for f in faults.FAULTS if f.label(a.runtime)}
    wanted = a.only or (PARTS if a.runtime == "runc" else (*KILLS, "faults"))
    if unknown := set(wanted) - set(PARTS) - set(named):
        p.error(f"no such part in {a.runtime}: {', '.join(sorted(unknown))}")
    began, wrong = time.monotonic(), 0
    kept = crash_page.Kept()
    with workbench.bench(a.runtime) as bench:
        for part in wanted:
            if part in KILLS:
                found, bad = _kills(bench, part, a.times)
                kept.kills(a.runtime, part, found)
            elif part in ("store", "full-store"):
                one, bad = _store(part)
                kept.fault(part, NO_GUEST, one)
            else:
                bad = 0
                for fault in named.values() if part == "faults" else [named[part]]:
                    one = fault.make(bench)
                    _tell(fault.name, one.wrong, one.came)
                    kept.fault(fault.name, fault.label(a.runtime), one)
                    bad += bool(one.wrong)
            wrong += bad
            if a.record:
                kept.write()
    sys.stderr.write(f"{wrong} failed, {(time.monotonic() - began) / 60:.1f} minutes\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

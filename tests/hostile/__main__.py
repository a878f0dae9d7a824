"""
Run the hostile suite:

    PYTHONPATH=tests/assets python tests/hostile [--runtime runc] [--only NAME ...] [--record]

Without `--runtime` every attack runs in runc and then in Docker, in a separate daemon. Exits with 1 if an
attack has an unexpected outcome. `--record` stores the outcomes in docs/reference/threat-model.json and
writes docs/reference/threat-model.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import lanes
import suite
import threat_model


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--runtime", nargs="*", default=threat_model.RUNTIMES, choices=threat_model.RUNTIMES)
    p.add_argument("--only", nargs="*", help="names of attacks")
    p.add_argument("--record", action="store_true", help="store the outcomes and write the threat model")
    a = p.parse_args()
    attacks = [x for x in suite.load() if not a.only or x.name in a.only]
    wrong, minutes = 0, 0.0
    for runtime in a.runtime:
        with tempfile.TemporaryDirectory(prefix="hostile-") as name, lanes.engine(runtime) as env:
            told = Told(runtime, a.record)
            found = lanes.conduct(attacks, Path(name), runtime, env, told)
        wrong += told.wrong
        minutes += found.wall_s / 60
        if a.record and not a.only:
            threat_model.timed(runtime, found)
    sys.stderr.write(
        f"{len(attacks)} attacks in {', '.join(a.runtime)}: {wrong} unexpected, {minutes:.1f} minutes\n"
    )
    return 1 if wrong else 0


class Told:
    """Prints each outcome on stderr, stores it, and counts the unexpected ones."""

    def __init__(self, runtime: str, record: bool) -> None:
        self.runtime, self.record, self.wrong = runtime, record, 0

    def __call__(self, attack: suite.Attack, found: suite.Recorded | Exception) -> None:
        if isinstance(found, Exception):
            against, said = [str(found)], f"{'':18}"
        else:
            against, said = (
                suite.objections(attack, found, self.runtime),
                f"{found.came:<12}{found.wall_s:4.1f} s",
            )
        if self.record and isinstance(found, suite.Recorded):
            threat_model.keep(self.runtime, found)
        self.wrong += bool(against)
        more = against or (found.failed if isinstance(found, suite.Recorded) else [])
        word = "FAILED" if against else "ok"
        sys.stderr.write(f"{word:<7}{self.runtime:<7}{attack.name:<25}{said}  {'; '.join(more)}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())

"""
Run the hostile suite: `python tests/hostile [--runtime runc] [--only NAME ...] [--record]`.

Exits with 1 if anything came of an attack that it does not say it expects. `--record` keeps the outcomes in
docs/reference/threat-model.json and writes docs/reference/threat-model.md from them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import suite
import threat_model


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--runtime", default="runc", choices=["runc", "docker"])
    p.add_argument("--only", nargs="*", help="names of attacks")
    p.add_argument("--record", action="store_true", help="keep the outcomes, and write the threat model")
    a = p.parse_args()
    attacks = [x for x in suite.load() if not a.only or x.name in a.only]
    began, wrong, found = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        for attack in attacks:
            record = suite.run(attack, Path(name), a.runtime)
            against = suite.objections(attack, record)
            wrong += bool(against)
            found.append(record)
            line = (
                f"{'WRONG' if against else 'ok':<6}{attack.name:<28}{record.came:<12}{record.wall_s:6.1f} s  "
            )
            sys.stderr.write(line + "; ".join(against or record.failed) + "\n")
            sys.stderr.flush()
            if a.record:
                threat_model.keep(a.runtime, [record])
    took = time.monotonic() - began
    sys.stderr.write(f"{len(found)} attacks, {wrong} not as expected, {took / 60:.1f} minutes\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

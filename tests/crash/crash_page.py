"""Store the outcomes of kills and faults in docs/reference/crash.json, and write docs/reference/crash.md."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
KEPT, PAGE = REFERENCE / "crash.json", REFERENCE / "crash.md"
PROMISES = (
    ("points", "SIGKILL at a named moment"),
    ("random", "SIGKILL at a random moment"),
    ("writes", "SIGKILL before each disk operation"),
    ("full-writes", "Disk full, starting at each disk operation"),
)


@dataclass
class Kept:
    """The outcomes of this run; recorded outcomes that are not measured again stay unchanged."""

    found: dict[str, Any] = field(default_factory=lambda: {"kills": {}, "faults": {}})

    def kills(self, runtime: str, part: str, outcomes: list[Any]) -> None:
        """Store the outcomes of one part of the kill table."""
        rows = [
            {
                "moment": k.moment, "runs": k.runs, "gone_s": round(k.gone_s, 2), "records": list(k.statuses),
                "wrong": list(k.wrong),
            }
            for k in outcomes
        ]  # fmt: skip
        self.found["kills"].setdefault(part, {})[runtime] = rows

    def fault(self, name: str, label: str, outcome: Any) -> None:
        """Store the outcome of one fault in one runtime, or without a guest."""
        one = self.found["faults"].setdefault(name, {"fault": outcome.fault, "outcomes": {}})
        one["outcomes"][label] = {"came": outcome.came, "wrong": list(outcome.wrong)}

    def write(self) -> None:
        """Write both files."""
        every = _read()
        for part, rows in self.found["kills"].items():
            every["kills"].setdefault(part, {}).update(rows)
        for name, found in self.found["faults"].items():
            kept = every["faults"].setdefault(name, {"outcomes": {}})
            kept["fault"] = found["fault"]
            kept["outcomes"].update(found["outcomes"])
        text = json.dumps(every, indent=1, sort_keys=True, ensure_ascii=False)
        KEPT.write_text(text + "\n")
        PAGE.write_text(spelled(every))


def _read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.is_file() else {"kills": {}, "faults": {}}
    return found


def spelled(found: dict[str, Any]) -> str:
    """Return the text of the page."""
    lines = [HEAD]
    lines += ["## Kills", "", "| test | runtime | times | reserved runs | longest cleanup | records | failures |",
              "|---|---|---:|---:|---:|---|---|"]  # fmt: skip
    for part, title in PROMISES:
        lines += [
            _summary(title, runtime, rows) for runtime, rows in sorted(found["kills"].get(part, {}).items())
        ]
    points = found["kills"].get("points", {})
    if points:
        lines += ["", "### Named moments", "", "| speedrun is killed | " + " | ".join(
            f"{r}: cleanup | {r}: record" for r in sorted(points)) + " |",
            "|---|" + "---:|---|" * len(points)]  # fmt: skip
        for row in zip(*(points[r] for r in sorted(points)), strict=True):
            cells = " | ".join(
                f"{k['gone_s']:.2f} s | {', '.join(k['records']) or 'none: no run was reserved'}" for k in row
            )
            lines.append(f"| {row[0]['moment']} | {cells} |")
    lines += FAULTS
    for fault in sorted(found["faults"].values(), key=lambda f: str(f["fault"]).casefold()):
        lines += [_fault(fault["fault"], label, one) for label, one in sorted(fault["outcomes"].items())]
    return "\n".join(lines) + "\n" + TAIL


def _summary(title: str, runtime: str, rows: list[dict[str, Any]]) -> str:
    records = Counter(status for k in rows for status in k["records"])
    spelled = ", ".join(f"{n} {status}" for status, n in sorted(records.items()))
    worst = max(k["gone_s"] for k in rows)
    wrong = sum(bool(k["wrong"]) for k in rows)
    runs = sum(k["runs"] for k in rows)
    return f"| {title} | {runtime} | {len(rows)} | {runs} | {worst:.2f} s | {spelled} | {wrong} |"


def _fault(title: str, label: str, outcome: dict[str, Any]) -> str:
    wrong = outcome["wrong"]
    came = outcome["came"] if not wrong else f"**failed**: {'; '.join(wrong)}"
    return f"| {title} | {label} | {came.replace('|', '/')} |"


FAULTS = [
    "", "## Faults", "", "A `-` in the column runtime means that the fault needs no guest.", "",
    "| fault | runtime | outcome |", "|---|---|---|",
]  # fmt: skip

HEAD = """\
# Crash behaviour

`make crash` measures these results and writes this page. Do not edit it by hand.

* One rename reserves a run. From then on the run ends in a signed record, even if speedrun is killed. The next
  `speedrun eval` with the same `--out`, or `speedrun doctor --fix`, kills what is left of the guest and closes the
  record as `lost`.
* The reservation is signed. Only the host that made it can close it: see [trust boundaries](trust-boundaries.md).
* A watchdog process kills the guest as soon as speedrun is gone.
* The store checks the digest of a blob, then adds it by one rename.

Each kill is SIGKILL to speedrun. The guest has forked a process into a new session and ignores every signal that it
can ignore. *Cleanup* is the time from the kill until nothing is left of the guest: no process, no control group, no
container, no state of the engine. A test fails if `speedrun bundle verify` refuses the record or if the runs directory
contains a file that a finished run does not have. It also fails on a traceback, and on an exit code that is not in the
table of [exit codes](exit-codes.md).
"""

TAIL = """
## Known limits

* If speedrun and its watchdog are killed together (`kill -9` of both), the guest keeps running until the next `eval`
  or `doctor --fix`. A reboot ends it.
* After a power cut, the last output of a guest can be missing from `guest.log`. The record of a lost run binds the
  output that is on the disk.
* Each reserved run keeps 256 KiB of disk space for its record. On a full disk, another process can take this space at
  the moment when it is freed. Then the record is closed later, once there is space.
* A disk that confirms `fsync` without writing the data can lose a record.
* No other host closes the runs of a host that is lost: that host could still be working on them. The next command lists
  them. A copy of a run's directory is refused, even if it is a backup and the original is lost.
"""

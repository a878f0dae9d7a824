"""Keeps what came of kills and faults in docs/reference/crash.json, and writes docs/reference/crash.md from it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
KEPT, PAGE = REFERENCE / "crash.json", REFERENCE / "crash.md"
PROMISES = (
    ("points", "Killed at a named moment"),
    ("random", "Killed at a random moment"),
    ("writes", "Killed before each change of the disk"),
    ("full-writes", "The disk is full from each change of it on"),
)


@dataclass
class Kept:
    """This time's outcomes; what is not measured again stays as it was."""

    found: dict[str, Any] = field(default_factory=lambda: {"kills": {}, "faults": {}})

    def kills(self, runtime: str, part: str, outcomes: list[Any]) -> None:
        """Keep the outcomes of one part of the kill table."""
        rows = [
            {
                "moment": k.moment, "runs": k.runs, "gone_s": round(k.gone_s, 2), "records": list(k.statuses),
                "wrong": list(k.wrong),
            }
            for k in outcomes
        ]  # fmt: skip
        self.found["kills"].setdefault(part, {})[runtime] = rows

    def fault(self, name: str, label: str, outcome: Any) -> None:
        """Keep what came of one fault in one runtime, or without a guest."""
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
    """Return the page."""
    lines = [HEAD]
    lines += ["## Kills", "", "| what | runtime | times | runs reserved | nothing left after, worst | records | wrong |",
              "|---|---|---:|---:|---:|---|---|"]  # fmt: skip
    for part, title in PROMISES:
        lines += [
            _summary(title, runtime, rows) for runtime, rows in sorted(found["kills"].get(part, {}).items())
        ]
    points = found["kills"].get("points", {})
    if points:
        lines += ["", "### The named moments", "", "| the kit is killed | " + " | ".join(
            f"{r}: nothing left after | {r}: record" for r in sorted(points)) + " |",
            "|---|" + "---:|---|" * len(points)]  # fmt: skip
        for row in zip(*(points[r] for r in sorted(points)), strict=True):
            cells = " | ".join(
                f"{k['gone_s']:.2f} s | {', '.join(k['records']) or 'none: no id was reserved'}" for k in row
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
    came = outcome["came"] if not wrong else f"**wrong**: {'; '.join(wrong)}"
    return f"| {title} | {label} | {came.replace('|', '/')} |"


FAULTS = [
    "", "## Faults", "", "`-` starts no guest.", "", "| fault | runtime | what came of it |", "|---|---|---|"
]  # fmt: skip

HEAD = """\
# What a crash leaves

Measured by `make crash`, which writes this page; nothing in it is written by hand.

A run is reserved by one rename. From then on it ends in a signed record, whatever happens to the kit: the next
`speedrun eval` with the same `--out`, or `speedrun doctor --fix`, ends what is left of the guest and closes the
record as `lost`. The reservation is signed, and only its own host closes it: see [trust boundaries](trust-boundaries.md).
A watcher process ends the guest as soon as the kit is gone. The store takes a blob by one rename after its digest was
compared.

Each kill is SIGKILL to the kit. Its guest has forked a process into a session of its own, and ignores every signal
that can be ignored. "Nothing left" means: no process, no control group, no container, no state of the engine. A record
counts only if `speedrun bundle verify` accepts it, and if nothing lies in the runs folder that a finished run has not.
For every fault, a traceback counts as wrong, and so does an exit code that is not in the table of
[exit codes](exit-codes.md).
"""

TAIL = """
## What is not caught

* Kit and watcher killed together (`kill -9` of both): the guest goes on until the next `eval` or `doctor --fix`.
  A reboot ends it.
* After a power cut, the last output of a guest may be missing from `guest.log`: the record of a lost run binds what
  is there.
* A disk that is full to the last byte, shared with others who write: 256 KiB are kept for the record of each
  reserved run; whoever takes them first, keeps them. The record is then closed once there is room.
* A disk that answers `fsync` without having written.
* A host that is gone for good: no other host closes its runs, since it might still be at work on them. The next command
  names them. A copy of a run's directory is refused, also if it is a backup and the original is lost.
"""

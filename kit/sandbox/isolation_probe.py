"""Asking from inside a guest what it could do: one short start with the run's own limits. Shuts nothing."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from kit.core.errors import RunError, SchemaError
from kit.core.facts import guest_file
from kit.core.schema import parse_json
from kit.sandbox.runtime.port import Guest, Runtime
from kit.sandbox.supervise import RunCallbacks, supervise
from kit.values.deadlines import Deadlines
from kit.values.log import Grammar, read_pieces
from kit.values.run_result import Enforcement, OutputStream, RunStatus
from kit.values.run_spec import Mount, RunSpec

SCRIPT = guest_file("isolation.py")
TARGET = PurePosixPath("/input/isolation.py")
HINT = "see: speedrun doctor"
DEADLINES = Deadlines(start_s=30, warmup_s=30, stall_s=30, teardown_s=30, total_s=30)


@dataclass(frozen=True, slots=True)
class ProbeCheck:
    """One way out that was tried."""

    id: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Probe:
    """What the probe found."""

    checks: tuple[ProbeCheck, ...]
    enforcement: Enforcement
    seconds: float

    @property
    def failed(self) -> tuple[ProbeCheck, ...]:
        """The ways out that are open."""
        return tuple(check for check in self.checks if not check.passed)


def probe(runtime: Runtime, spec: RunSpec, python: str, scratch: Path) -> Probe:
    """
    Start the isolation probe where the guest will run, and return its answers.

    `python` is the interpreter as the guest sees it. Raises `RunError` if it could not be asked: an
    unanswered question is never taken for a passed check.
    """
    began = time.monotonic()
    asking = replace(
        spec,
        argv=(python, "-I", str(TARGET), str(spec.gpus)),
        mounts=(*spec.mounts, Mount(SCRIPT, TARGET)),
        deadlines=DEADLINES,
    )
    guests: list[Guest] = []
    with tempfile.TemporaryDirectory(dir=scratch, prefix="probe-") as name:
        folder = Path(name)
        folder.chmod(0o755)

        def start() -> Guest:
            guests.append(runtime.start(asking, folder))
            return guests[0]

        log, stamps = folder / "log", folder / "stamps"
        result = supervise(asking, start, log, stamps, Grammar.STEP, RunCallbacks())
        words = log.read_bytes()[-300:].decode(errors="replace")
        said = b"".join(
            piece.data for piece in read_pieces(log, stamps) if piece.stream is OutputStream.STDOUT
        )
    if result.status is not RunStatus.COMPLETED:
        raise RunError(f"the isolation probe did not finish: {result.reason}: {words}", HINT)
    return Probe(answers(said), guests[0].enforcement, time.monotonic() - began)


def answers(said: bytes) -> tuple[ProbeCheck, ...]:
    """Read what the probe printed. Raises `RunError` if that is no list of answers."""
    where = "the isolation probe's answer"
    try:
        found = tuple(
            ProbeCheck(str(c["id"]), c["passed"] is True, str(c["detail"]))
            for c in parse_json(said, where)["checks"]
        )
    except (SchemaError, KeyError, TypeError) as e:
        raise RunError(f"{where} cannot be read: {e}", HINT) from e
    if not found:
        raise RunError(f"{where} names no way out that it tried", HINT)
    return found

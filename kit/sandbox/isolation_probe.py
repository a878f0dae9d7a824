"""Check from inside a guest what it could do: one short start with the run's own limits."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from kit.core.errors import RunError, SchemaError
from kit.core.facts import guest_file
from kit.core.schema import parse_json
from kit.sandbox.run_guest import run_guest
from kit.sandbox.runtime.port import Runtime
from kit.values.deadlines import Deadlines
from kit.values.run_result import Enforcement, RunStatus
from kit.values.run_spec import Mount, RunSpec

FIRST_CHECKS = guest_file("isolation.py")
"""Its bytes may not change; bundles of the first version hold its answers alone."""
SCRIPT = guest_file("isolation_v2.py")
"""Asks what `FIRST_CHECKS` asks, which it imports from its own directory, and more."""
TARGET = PurePosixPath("/input")
HINT = "see: speedrun doctor"
DEADLINES = Deadlines(start_s=30, warmup_s=30, stall_s=30, teardown_s=30, total_s=30)


@dataclass(frozen=True, slots=True)
class ProbeCheck:
    """One check of the probe; it passes when the guest was refused."""

    id: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Probe:
    """The answers of the probe."""

    checks: tuple[ProbeCheck, ...]
    enforcement: Enforcement
    seconds: float

    @property
    def failed(self) -> tuple[ProbeCheck, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)


def probe(runtime: Runtime, spec: RunSpec, python: str, scratch: Path) -> Probe:
    """
    Start the isolation probe where the guest will run, and return its answers.

    `python` is the interpreter as the guest sees it. Raises `RunError` if it could not be asked: an
    unanswered question is never taken for a passed check.
    """
    began = time.monotonic()
    probe_spec = replace(
        spec,
        argv=(python, "-I", str(TARGET / SCRIPT.name), str(spec.gpus)),
        mounts=(*spec.mounts, *(Mount(file, TARGET / file.name) for file in (FIRST_CHECKS, SCRIPT))),
        deadlines=DEADLINES,
    )
    with run_guest(runtime, probe_spec, scratch, prefix="probe-") as run:
        tail, stdout = run.output.tail(), run.output.stdout()
    if run.result.status is not RunStatus.COMPLETED:
        raise RunError(f"the isolation probe did not finish: {run.result.reason}: {tail}", HINT)
    return Probe(read_checks(stdout), run.enforcement, time.monotonic() - began)


def read_checks(stdout: bytes) -> tuple[ProbeCheck, ...]:
    """Read what the probe printed. Raises `RunError` if that is no list of answers."""
    where = "the isolation probe's answer"
    try:
        checks = tuple(
            ProbeCheck(str(c["id"]), c["passed"] is True, str(c["detail"]))
            for c in parse_json(stdout, where)["checks"]
        )
    except (SchemaError, KeyError, TypeError) as e:
        raise RunError(f"{where} cannot be read: {e}", HINT) from e
    if not checks:
        raise RunError(f"{where} contains no checks", HINT)
    return checks

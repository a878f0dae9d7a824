"""Asking from inside a guest what it could do: one short start with the run's own limits. Shuts nothing."""

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
    probe_spec = replace(
        spec,
        argv=(python, "-I", str(TARGET), str(spec.gpus)),
        mounts=(*spec.mounts, Mount(SCRIPT, TARGET)),
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
        raise RunError(f"{where} names no way out that it tried", HINT)
    return checks

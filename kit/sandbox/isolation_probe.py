"""Run the isolation checks inside a short guest that has the same limits as the run."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from kit.core.errors import RunError, SchemaError
from kit.core.facts import guest_file
from kit.core.files import readable_copy
from kit.core.schema import parse_json
from kit.sandbox.run_guest import guest_directory, run_guest
from kit.sandbox.runtime.port import Runtime
from kit.values.deadlines import Deadlines
from kit.values.run_result import Enforcement, RunStatus
from kit.values.run_spec import Mount, RunSpec

FIRST_CHECKS = guest_file("isolation.py")
"""Do not edit this script: bundles of version 1 contain its answers only."""
SCRIPT = guest_file("isolation_v2.py")
"""Runs more checks than `FIRST_CHECKS`, which it imports from its directory."""
TARGET = PurePosixPath("/input")
HINT = "run the command again; if it fails again, use another --runtime"
WITHIN_S = 120.0
"""Seconds; a busy machine takes several to start Python."""
DEADLINES = Deadlines(
    start_s=WITHIN_S, warmup_s=WITHIN_S, stall_s=WITHIN_S, teardown_s=WITHIN_S, total_s=WITHIN_S
)


@dataclass(frozen=True, slots=True)
class ProbeCheck:
    """One check of the probe; it passes if the system refused the guest's attempt."""

    id: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class IsolationResult:
    """The results of the isolation probe."""

    checks: tuple[ProbeCheck, ...]
    enforcement: Enforcement
    seconds: float

    @property
    def failed(self) -> tuple[ProbeCheck, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)


def probe(runtime: Runtime, spec: RunSpec, python: str, scratch: Path) -> IsolationResult:
    """
    Run the isolation probe in the guest's environment and return its results.

    `python` is the interpreter's path inside the guest. Raises `RunError` if the probe fails or its output
    is invalid: a check without an answer never counts as passed.
    """
    began = time.monotonic()
    with guest_directory(scratch, "checks-") as directory:
        scripts = [readable_copy(file, directory) for file in (FIRST_CHECKS, SCRIPT)]
        probe_spec = replace(
            spec,
            argv=(python, "-I", str(TARGET / SCRIPT.name), str(spec.gpus)),
            mounts=(*spec.mounts, *(Mount(file, TARGET / file.name) for file in scripts)),
            deadlines=DEADLINES,
        )
        with run_guest(runtime, probe_spec, scratch, prefix="probe-") as run:
            tail, stdout = run.output.tail(), run.output.stdout()
    if run.result.status is not RunStatus.COMPLETED:
        raise RunError(f"the isolation probe did not finish: {run.result.reason}: {tail}", HINT)
    return IsolationResult(read_checks(stdout), run.enforcement, time.monotonic() - began)


def require_isolation(result: IsolationResult) -> None:
    """Raise `RunError` that lists the checks that failed, if any did."""
    if result.failed:
        listed = "; ".join(f"{c.id}: {c.detail}" for c in result.failed)
        runtime = result.enforcement.runtime
        raise RunError(f"isolation checks failed in the {runtime} runtime: {listed}", "see: speedrun doctor")


def read_checks(stdout: bytes) -> tuple[ProbeCheck, ...]:
    """Parse the probe's output. Raises `RunError` if it is not a list of checks."""
    where = "the output of the isolation probe"
    try:
        checks = tuple(
            ProbeCheck(str(c["id"]), c["passed"] is True, str(c["detail"]))
            for c in parse_json(stdout, where)["checks"]
        )
    except (SchemaError, KeyError, TypeError) as e:
        raise RunError(f"cannot parse {where}: {e}", HINT) from e
    if not checks:
        raise RunError(f"{where} contains no checks", HINT)
    return checks

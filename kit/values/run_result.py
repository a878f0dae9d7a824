"""RunResult: the outcome of one guest, as the host observed it. Claims of the guest are kept apart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kit.core.digest import Sha256
from kit.values.run_spec import Phase, RuntimeName


class RunStatus(StrEnum):
    """How a run ended. Every status gives a result with a bundle; none is an exception."""

    COMPLETED = "completed"
    """The guest exited with code 0."""
    CRASHED = "crashed"
    """The guest exited with another code or by a signal that the kit did not send."""
    TIMED_OUT = "timed_out"
    """A deadline was reached; `RunResult.ended_in` and `clock` say which."""
    STALLED = "stalled"
    """The guest printed no new step within the stall deadline."""
    OUT_OF_MEMORY = "out_of_memory"
    """The kernel killed a process for memory and the run failed."""
    OUTPUT_LIMIT = "output_limit"
    """The guest printed more than its output limit."""
    CANCELLED = "cancelled"
    """The operator stopped it."""
    LOST = "lost"
    """The kit or the engine died before the run finished."""


class OutputStream(StrEnum):
    """The stream that a line was printed on."""

    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True)
class Point:
    """One claim of the guest: a validation line or a training line."""

    step: int
    total_steps: int
    val_loss: float | None
    """Nats per token; None on a training line. Finite or NaN, as printed."""
    train_time_ms: int | None
    """Time on the guest's clock; None if the grammar has no clock."""
    host_ns: int | None = None
    """Host monotonic nanoseconds since the guest's start; None when read from a file without stamps."""


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """The duration of a phase on the host's clock. Phases that were not reached are left out."""

    phase: Phase
    seconds: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Resource usage from the kernel. A field is None if the runtime cannot measure it."""

    peak_memory: int | None = None
    """Bytes."""
    oom_kills: int | None = None


@dataclass(frozen=True, slots=True)
class Enforcement:
    """The limits that are enforced on a started guest."""

    runtime: RuntimeName
    version: str
    contains: bool
    """Whether the guest is isolated from the host. Other results cannot be ranked."""
    config_sha256: Sha256 | None
    """Digest of the engine's configuration of this guest, if there is one."""
    not_enforced: tuple[str, ...]
    """Names of limits that the runtime cannot enforce on this machine."""


@dataclass(frozen=True, slots=True)
class Teardown:
    """Proof that the guest is gone."""

    kill_s: float
    """Seconds from the kill decision, or from the guest's exit, until nothing is left."""
    remains: tuple[str, ...]
    """Processes, containers or GPU memory left behind after exit; normally empty."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """One finished run."""

    run_id: str
    status: RunStatus
    reason: str
    """One sentence for a person."""
    ended_in: Phase | None
    clock: str | None
    """The deadline that ended the run: a phase, `stall` or `total`; None if it exited by itself."""
    exit_code: int | None
    """Exit code as in a shell (128 + signal); None if unknown."""
    started_at: str
    """UTC wall-clock time, ISO 8601."""
    wall_s: float
    """From the guest's start to its end, on the host's monotonic clock."""
    train_wall_s: float | None
    """From the end of the warm-up to the last validation claim, on the host's monotonic clock."""
    phases: tuple[PhaseTime, ...]
    points: tuple[Point, ...]
    """Its validation claims, in order of arrival."""
    output_bytes: int
    output_lines: int
    usage: Usage
    teardown: Teardown
    log_sha256: Sha256
    stamps_sha256: Sha256

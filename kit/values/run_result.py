"""RunResult: the outcome of one guest, as the host observed it. Claims of the guest are kept apart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kit.core.digest import Sha256
from kit.values.run_spec import Phase, RuntimeName


class RunStatus(StrEnum):
    """How a run ended. Each of these is a result with a bundle; none is an exception."""

    COMPLETED = "completed"
    """The guest exited with 0 by itself."""
    CRASHED = "crashed"
    """The guest exited otherwise, by itself."""
    TIMED_OUT = "timed_out"
    """A phase deadline or the total ended it; `RunResult.ended_in` and `clock` say which."""
    STALLED = "stalled"
    """No new step for longer than the stall clock allows."""
    OUT_OF_MEMORY = "out_of_memory"
    """The kernel killed for memory and the run failed."""
    OUTPUT_LIMIT = "output_limit"
    """It printed more than its limit."""
    CANCELLED = "cancelled"
    """The operator stopped it."""
    LOST = "lost"
    """The kit or the engine died; what is known is recorded."""


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
    """Nats per token; None on a training line. Finite or NaN as printed."""
    train_time_ms: int | None
    """The guest's own clock; None where the grammar has none."""
    host_ns: int | None = None
    """Host monotonic nanoseconds since the guest's start; None when read from a file without stamps."""


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """How long a phase took on the host's clock; phases that were not reached are absent."""

    phase: Phase
    seconds: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What the kernel counted. None means that this runtime could not count it."""

    peak_memory: int | None = None
    """Bytes."""
    oom_kills: int | None = None


@dataclass(frozen=True, slots=True)
class Enforcement:
    """What a started guest is really held to."""

    runtime: RuntimeName
    version: str
    contains: bool
    """Whether the guest is kept from the host. Ranking refuses results where this is false."""
    config_sha256: Sha256 | None
    """Digest of the engine's own configuration of this guest, where it has one."""
    not_enforced: tuple[str, ...]
    """Names of limits that this machine does not let the runtime enforce."""


@dataclass(frozen=True, slots=True)
class Teardown:
    """Proof that the guest is gone."""

    kill_s: float
    """Seconds from the decision to end it (or its own exit) to nothing left."""
    remains: tuple[str, ...]
    """What was still there when the kit gave up looking; empty is the promise."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """One ended run."""

    run_id: str
    status: RunStatus
    reason: str
    """One sentence for a person."""
    ended_in: Phase | None
    clock: str | None
    """Which clock ended it: a phase, `stall` or `total`; None if it ended by itself."""
    exit_code: int | None
    """As a shell would see it (128 + signal); None if unknown."""
    started_at: str
    """UTC wall-clock time, ISO 8601."""
    wall_s: float
    """Start of the guest to its end, host monotonic clock."""
    train_wall_s: float | None
    """End of warm-up to the last validation claim, host monotonic clock."""
    phases: tuple[PhaseTime, ...]
    points: tuple[Point, ...]
    """Its validation claims, in order of arrival."""
    output_bytes: int
    output_lines: int
    usage: Usage
    teardown: Teardown
    log_sha256: Sha256
    stamps_sha256: Sha256

"""
The predicate: everything that one result says, as frozen values.

It holds what was measured and which checks ran. It holds no trust tier: readers compute that
(`kit.result.appraisal.trust`). The bytes that get signed are made in `kit.result.statement`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from kit.audit.finding import Outcome as Outcome
from kit.audit.finding import Severity as Severity
from kit.core.codec import OPTIONAL, Pairs, Prose
from kit.core.digest import Sha256
from kit.values.deadlines import Deadlines
from kit.values.fidelity import Fidelity
from kit.values.log import Grammar
from kit.values.profile import Profile
from kit.values.run_result import PhaseTime, RunStatus, Teardown, Usage
from kit.values.run_spec import Limits, Phase, RuntimeName
from kit.values.software import Kit


class Isolation(StrEnum):
    """What stood between the guest and the machine."""

    CONTAINED = "contained"
    IN_POD = "in-pod"
    NONE = "none"


class CompileCache(StrEnum):
    """Whether compiled code of an earlier run was there when the guest started."""

    COLD = "cold"
    WARM = "warm"


class Verdict(StrEnum):
    """What the result comes to; `kit.result.appraisal.verdict` derives it from the rest."""

    REACHED = "reached"
    MISSED = "missed"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Run:
    """What was started under which limits, and how it ended."""

    id: str
    nonce: str
    """Hexadecimal. It proves freshness only to whoever issued it."""
    status: RunStatus
    reason: Prose
    ended_in: Phase | None
    clock: str | None
    """Which clock ended it: a phase, `stall` or `total`."""
    exit_code: int | None
    started_at: str
    """UTC, ISO 8601, the operator's wall clock."""
    argv: tuple[str, ...]
    entry: str
    """The file that torchrun starts."""
    env: Pairs[str]
    compile_cache: CompileCache
    world_size: int
    gpus: int
    deadlines: Deadlines
    limits: Limits
    untimed_steps: int
    kit: Kit


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """What was to be reached."""

    id: str
    """The start record's name: `3`, `21c`, `smoke-1`."""
    set: str
    """The task set and its version."""
    profile: Profile
    target: str | None
    """The target record's name."""
    target_val_loss: float
    """Nats per token."""
    target_source: str
    baseline_submission_sha256: Sha256 | None
    """Tree digest of the start record's own submission."""


@dataclass(frozen=True, slots=True)
class Image:
    """The image, as both kinds of engine name it."""

    config_digest: Sha256
    manifest_digest: Sha256


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """What ran the guest, and which parts of the RunSpec it could not honour."""

    name: RuntimeName
    version: str
    contains: bool
    config_sha256: Sha256 | None
    """Of the OCI runtime configuration, where there is one."""
    not_enforced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IsolationCheck:
    """One thing that the probe looked for from the inside."""

    id: str
    passed: bool
    detail: Prose


@dataclass(frozen=True, slots=True)
class IsolationReport:
    """What the probe found, in its own start before the guest's."""

    level: Isolation
    checks: tuple[IsolationCheck, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the guest ran."""

    era: str
    image: Image | None
    """None means the machine's own files."""
    fidelity: Pairs[Fidelity]
    runtime: RuntimeInfo
    isolation: IsolationReport


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processors that the guest could use."""

    model: Prose
    cores: int


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU that the guest was given."""

    index: int
    name: Prose
    uuid: str | None
    memory: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine."""

    cpu: Cpu
    memory: int
    """Bytes."""
    gpus: tuple[Gpu, ...]
    driver: str | None
    probe: Pairs[float] | None
    """Figures of a short fixed workload, for comparing machines."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that the guest could read."""

    name: str
    """Relative POSIX path."""
    size: int
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Data:
    """The data set."""

    name: str
    kind: str
    pinned: bool
    """Whether the files were compared with digests known before the run."""
    files: tuple[InputFile, ...]
    val_tokens: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The kit's file that describes the record."""

    name: str
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The text that the script was also validated on, which no file of the task holds."""

    file: InputFile
    """The shard that stood in the validation shard's place."""
    seed: str
    windows: int
    """Pieces that it is composed of."""
    sources: tuple[InputFile, ...]
    """Files that the pieces were drawn from; empty for a fresh sample of the smoke language."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Every byte that went in, by digest."""

    submission: tuple[InputFile, ...]
    data: Data
    record_manifest: Manifest
    held_out: HeldOut | None


@dataclass(frozen=True, slots=True)
class ValPoint:
    """One validation line of the guest."""

    step: int
    val_loss: float | None
    """Nats per token; None for NaN or infinity."""
    train_time_ms: int | None
    """The guest's own clock; None where the grammar has none."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What the guest said; `kit.result.derive.claims_of` derives it from the points of the log."""

    grammar: Grammar
    """How the guest's lines were read."""
    steps: int | None
    """Steps of the whole run as the last validation line announced them; None if none did."""
    final_step: int | None
    final_val_loss: float | None
    train_time_ms: int | None
    val_points: tuple[ValPoint, ...]
    """At most `kit.result.derive.MAX_VAL_POINTS`: the first ones and the last one."""
    val_points_printed: int


@dataclass(frozen=True, slots=True)
class Lines:
    """How many lines of one kind the run owed, by its own last step, and how many it printed."""

    expected: int | None
    """None where the record says that its script prints none."""
    seen: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Which lines the claims had to be made in; the record's files say it, never the log."""

    guest_clock: bool
    """Whether the record's script prints a clock of its own; otherwise the host's is the time."""
    training_lines: Lines
    validation_lines: Lines


@dataclass(frozen=True, slots=True)
class Observations:
    """What the host saw."""

    wall_s: float
    train_wall_s: float | None
    phases: tuple[PhaseTime, ...]
    output_bytes: int
    output_lines: int
    usage: Usage
    teardown: Teardown
    val_point_host_ms: tuple[float | None, ...]
    """For each of the claimed validation points, when its line came; milliseconds since the guest's start."""


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """One check that ran, or that could not."""

    id: str
    severity: Severity
    outcome: Outcome
    detail: Prose
    figures: Pairs[float]


@dataclass(frozen=True, slots=True)
class Audit:
    """All that the audits found. Deleting a check only lowers the tier that a reader computes."""

    checks: tuple[AuditCheck, ...]
    tier_rules: int
    """Version of the rules by which a reader derives the tier: 1 in results of version 0.1."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the result comes to."""

    verdict: Verdict
    ranked: bool
    unranked_because: tuple[Prose, ...]
    fsr: float | None


@dataclass(frozen=True, slots=True)
class Reproduces:
    """The result that this run repeats. Whether the two agree is computed by readers, who have both."""

    run_id: str
    key_id: Sha256
    """Of the first result's signer."""
    bundle_sha256: Sha256
    """Of the first result's `result.json`."""


@dataclass(frozen=True, slots=True)
class Series:
    """The series that this run was reserved in, before any run of it started."""

    id: str
    plan_sha256: Sha256
    """Of the signed plan, which names every run."""


@dataclass(frozen=True, slots=True)
class Predicate:
    """One result."""

    run: Run
    task: TaskInfo
    environment: Environment
    hardware: Hardware
    inputs: Inputs
    claims: Claims
    evidence: Evidence
    observations: Observations
    audit: Audit
    score: Score
    reproduces: Annotated[Reproduces | None, OPTIONAL] = None
    series: Annotated[Series | None, OPTIONAL] = None

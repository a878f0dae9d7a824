"""
The predicate: the whole content of one result, as frozen values.

It holds the measurements and the outcomes of the checks. It holds no trust tier: readers compute that with
`kit.result.appraisal.trust`. `kit.result.statement` makes the bytes to sign.
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
    """The isolation between the guest and the machine."""

    CONTAINED = "contained"
    IN_POD = "in-pod"
    NONE = "none"


class CompileCache(StrEnum):
    """Whether the guest started with compiled code of an earlier run."""

    COLD = "cold"
    WARM = "warm"


class Verdict(StrEnum):
    """The verdict; `kit.result.appraisal.verdict` derives it from the other fields."""

    REACHED = "reached"
    MISSED = "missed"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Run:
    """The command, its limits, and how the run ended."""

    id: str
    nonce: str
    """Hexadecimal. It proves freshness only to the person who issued it."""
    status: RunStatus
    reason: Prose
    ended_in: Phase | None
    clock: str | None
    """Which clock ended it: a phase, `stall` or `total`."""
    exit_code: int | None
    started_at: str
    """UTC, ISO 8601, on the operator's wall clock."""
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
    compile_cache_sha256: Annotated[Sha256 | None, OPTIONAL] = None
    """Digest of the manifest of the warm compile cache; None for a cold one."""


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """The task of the run."""

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
    """The image, by both digests that engines use."""

    config_digest: Sha256
    manifest_digest: Sha256


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """The runtime of the guest, and the limits that it could not enforce."""

    name: RuntimeName
    version: str
    contains: bool
    config_sha256: Sha256 | None
    """Digest of the OCI runtime configuration, if there is one."""
    not_enforced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IsolationCheck:
    """One isolation check that the probe ran inside the container."""

    id: str
    passed: bool
    detail: Prose


@dataclass(frozen=True, slots=True)
class IsolationReport:
    """The isolation checks, run in a separate container before the guest's."""

    level: Isolation
    checks: tuple[IsolationCheck, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """The image, runtime and isolation of the guest."""

    era: str
    image: Image | None
    """None for `--image host`: the machine's files."""
    fidelity: Pairs[Fidelity]
    runtime: RuntimeInfo
    isolation: IsolationReport
    byte_code: Annotated[Sha256 | None, OPTIONAL] = None
    """Tree digest of the image's compiled Python files that were mounted; None if there were none."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processors that the guest could use."""

    model: Prose
    cores: int


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU of the guest."""

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
    """Results of a short fixed workload, to compare machines."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file by name, size and sha256."""

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
    """Whether the files were compared with digests that were known before the run."""
    files: tuple[InputFile, ...]
    val_tokens: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The record's TOML file."""

    name: str
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out text that the script was also validated on; no file of the task contains it."""

    file: InputFile
    """The shard that replaced the validation shard."""
    seed: str
    windows: int
    """Number of windows that the shard consists of."""
    sources: tuple[InputFile, ...]
    """Files that the windows come from; empty for a fresh sample of the smoke language."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """All input files, by digest."""

    submission: tuple[InputFile, ...]
    data: Data
    record_manifest: Manifest
    held_out: HeldOut | None


@dataclass(frozen=True, slots=True)
class ValPoint:
    """One validation line of the guest."""

    step: int
    val_loss: float | None
    """Nats per token; None for NaN and infinity."""
    train_time_ms: int | None
    """Time on the guest's clock; None if the grammar has no clock."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The guest's claims; `kit.result.derive.claims_of` derives them from the points of the log."""

    grammar: Grammar
    """The grammar that the guest's lines were parsed with."""
    steps: int | None
    """Total steps, as the last validation line announced them; None if there is no such line."""
    final_step: int | None
    final_val_loss: float | None
    train_time_ms: int | None
    val_points: tuple[ValPoint, ...]
    """At most `kit.result.derive.MAX_VAL_POINTS`: the first ones and the last one."""
    val_points_printed: int


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of one kind: how many are expected up to the run's last step, and how many were printed."""

    expected: int | None
    """None if the record's script prints no such lines."""
    seen: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """The lines that a run must print, according to the record's files, never the log."""

    guest_clock: bool
    """Whether the record's script prints a clock; otherwise the host's clock counts."""
    training_lines: Lines
    validation_lines: Lines


@dataclass(frozen=True, slots=True)
class Observations:
    """The host's observations of the run."""

    wall_s: float
    train_wall_s: float | None
    phases: tuple[PhaseTime, ...]
    output_bytes: int
    output_lines: int
    usage: Usage
    teardown: Teardown
    val_point_host_ms: tuple[float | None, ...]
    """Arrival of each claimed validation point's line; milliseconds since the guest's start."""


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """The outcome of one check."""

    id: str
    severity: Severity
    outcome: Outcome
    detail: Prose
    figures: Pairs[float]


@dataclass(frozen=True, slots=True)
class Audit:
    """The outcomes of all checks. A deleted check can only lower the tier that a reader computes."""

    checks: tuple[AuditCheck, ...]
    tier_rules: int
    """Version of the rules for deriving the tier; 1 in results of version 0.1."""


@dataclass(frozen=True, slots=True)
class Score:
    """The verdict and the ranking."""

    verdict: Verdict
    ranked: bool
    unranked_because: tuple[Prose, ...]
    fsr: float | None


@dataclass(frozen=True, slots=True)
class Reproduces:
    """The result that this run repeats. Readers compute whether the two agree."""

    run_id: str
    key_id: Sha256
    """Key id of the first result's signer."""
    bundle_sha256: Sha256
    """Digest of the first result's `result.json`."""


@dataclass(frozen=True, slots=True)
class Series:
    """The series that this run belongs to; it was reserved before its first run."""

    id: str
    plan_sha256: Sha256
    """Digest of the signed plan, which names every run."""


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

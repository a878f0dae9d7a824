"""What a run is: every choice that its result depends on. The digest of a spec is the run's id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.agent.budget import Budget
from kit.agent.policy import Policy, SearchFidelity
from kit.core.codec import Pairs, decode, encode
from kit.core.digest import Sha256, canonical_json, sha256_bytes
from kit.core.files import write_atomic
from kit.core.schema import read_json, validate

SPEC_SCHEMA = "agent-spec.v1"
ID_DIGITS = 16


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model and how it is called. The key of the endpoint is no part of it, only its variable's name."""

    name: str
    profile: Pairs[Any]
    """The profile document."""
    profile_sha256: Sha256
    """The digest of the profile's file."""


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """How nodes are evaluated."""

    profile: str
    """`full` or `smoke`."""
    runtime: str
    image: str
    gpus: int
    worst_wall_s: float
    """The most seconds that one evaluation can take, by its deadlines."""
    start_ms: float | None
    """Reference time of the start script in milliseconds; None: unknown."""
    start_sd_ms: float | None
    target_ms: float | None
    """Reference time of the target script in milliseconds, for FSR; None: unknown."""

    @property
    def worst_gpu_seconds(self) -> float:
        """The most GPU-seconds that one evaluation can take."""
        return self.worst_wall_s * self.gpus


@dataclass(frozen=True, slots=True)
class KnowledgeDigest:
    """One file of external knowledge."""

    name: str
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """Every choice of a run."""

    task: str
    """The task's name: `3`, `smoke-1`."""
    hints: tuple[int, ...]
    """Hint levels, ascending."""
    policy: Policy
    fidelity: SearchFidelity
    controls: int
    """Number of control nodes: evaluations of the unchanged start script, before the search."""
    model: ModelChoice
    seed: int
    budget: Budget
    evaluation: EvaluationSettings
    start_sha256: Sha256
    """The digest of the start script's files."""
    prompts_sha256: Sha256
    knowledge: tuple[KnowledgeDigest, ...]
    kit_version: str


def spec_sha256(spec: AgentSpec) -> Sha256:
    """Return the digest of a spec's canonical JSON."""
    return sha256_bytes(canonical_json(encode(AgentSpec, spec)))


def run_id(spec: AgentSpec) -> str:
    """Return the id of a run: the first 16 digits of its spec's digest."""
    return spec_sha256(spec)[:ID_DIGITS]


def write_spec(path: Path, spec: AgentSpec) -> None:
    """Write a spec as canonical JSON. Raises `SchemaError` if it is invalid."""
    document = encode(AgentSpec, spec)
    validate(SPEC_SCHEMA, document, str(path))
    write_atomic(path, canonical_json(document) + b"\n")


def read_spec(path: Path) -> AgentSpec:
    """Read a spec. Raises `PrerequisiteError` if it is missing and `SchemaError` if it is invalid."""
    spec: AgentSpec = decode(AgentSpec, read_json(path, SPEC_SCHEMA))
    return spec


def differences(one: AgentSpec, other: AgentSpec) -> tuple[str, ...]:
    """Return the names of the fields in which two specs differ, for example `budget.usd`, sorted."""
    return tuple(sorted(_differing(encode(AgentSpec, one), encode(AgentSpec, other), "")))


def _differing(one: Any, other: Any, name: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        prefix = f"{name}." if name else ""
        keys = sorted(one.keys() | other.keys())
        return [found for k in keys for found in _differing(one.get(k), other.get(k), f"{prefix}{k}")]
    return [] if one == other else [name]

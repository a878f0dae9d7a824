"""
Horizon tasks: from a start record to a later one, and the records between them as a staircase.

The score of a time t' is (t_i - t') / (t_i - t_j). The times of the records were measured on other machines;
given the times of start and horizon on this machine, those between are scaled linearly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.agent.outcome import ReferenceTimes
from kit.agent.spec import AgentSpec
from kit.benchmark import records
from kit.benchmark.records import Record
from kit.core.errors import SchemaError, UsageError

HORIZON = "horizon"
"""The key of a spec's model profile."""
MAX_STEPS = 200


@dataclass(frozen=True, slots=True)
class HorizonStep:
    """One record of the staircase."""

    record: str
    time_ms: float
    """As its record states it."""
    share: float
    """The share of the way from start to horizon that it recovers; 0 for the start, 1 for the horizon."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """The records from the start to the horizon, both included."""

    steps: tuple[HorizonStep, ...]

    @property
    def record(self) -> str:
        """The name of the horizon's record."""
        return self.steps[-1].record

    def document(self) -> dict[str, Any]:
        """Return it as the spec stores it."""
        return {"steps": [[step.record, step.time_ms] for step in self.steps]}


def load_horizon(folder: Path, start: str, horizon: str) -> Horizon:
    """
    Return the records from `start` to `horizon`; `folder` is the directory of record files.

    Raises `UsageError` if the horizon does not follow on the start, has another target loss, or is not
    faster by its records.
    """
    first = records.load(folder, start)
    chain = [first]
    while chain[-1].name != horizon and len(chain) < MAX_STEPS:
        following = chain[-1].target
        if following is None:
            raise UsageError(
                f"record {horizon} is not among those that follow on record {start}, up to {chain[-1].name}",
                "list tasks: speedrun task list --set all",
            )
        chain.append(records.load(folder, following))
    _require_one_target(chain)
    return _horizon([(record.name, record.reference_ms) for record in chain])


def _require_one_target(chain: list[Record]) -> None:
    first = chain[0]
    other = next((r for r in chain if r.target_val_loss != first.target_val_loss), None)
    if other is not None:
        raise UsageError(
            f"record {other.name} has another target loss than record {first.name}: "
            f"{other.target_val_loss:g} and {first.target_val_loss:g}",
            "choose a horizon before it",
        )


def _horizon(times: list[tuple[str, float]]) -> Horizon:
    start, end = times[0][1], times[-1][1]
    if len(times) < 2 or end >= start:
        raise UsageError(
            f"record {times[-1][0]} is not faster than record {times[0][0]}: {end:g} and {start:g} ms",
            "choose a later horizon",
        )
    return Horizon(tuple(HorizonStep(name, ms, (start - ms) / (start - end)) for name, ms in times))


def horizon_of(spec: AgentSpec) -> Horizon | None:
    """Return the horizon of a session's spec; None for a session of one task."""
    document = dict(spec.model.profile).get(HORIZON)
    if document is None:
        return None
    try:
        return _horizon([(str(name), float(ms)) for name, ms in document["steps"]])
    except (KeyError, TypeError, ValueError) as e:
        raise SchemaError("the spec has an invalid horizon") from e


def horizon_reference(
    horizon: Horizon | None,
    known: ReferenceTimes | None,
    start_ms: float | None,
    target_ms: float | None,
    one_image: bool = True,
) -> ReferenceTimes | None:
    """
    Return the times that the score is measured between.

    `known` are those of the records of one task. `start_ms` and `target_ms` are the times of the start and of
    the horizon, or target, on this machine; a missing target is scaled from the records. Without `one_image`,
    the records' times say nothing about this session: both times are needed, or there are none. Raises
    `UsageError` for a target without a start, a missing target that cannot be scaled, or one that is not
    faster.
    """
    if not one_image:
        known = None
    elif horizon is not None:
        source = known.source if known is not None and len(horizon.steps) == 2 else "the records' machines"
        sd = None if known is None else known.start_sd_ms
        known = ReferenceTimes(horizon.steps[0].time_ms, horizon.steps[-1].time_ms, sd, source)
    if start_ms is None:
        if target_ms is not None:
            raise UsageError("--target-time needs --start-time", "pass the time of the start script as well")
        return known
    if target_ms is None:
        if known is None:
            why = "in this profile" if one_image else "in this session's image"
            raise UsageError(f"the target time is not known {why}", "pass --target-time as well")
        target_ms = known.target_ms * start_ms / known.start_ms
    if target_ms >= start_ms:
        raise UsageError(f"the target time ({target_ms:g} ms) is not below the start time ({start_ms:g} ms)")
    return ReferenceTimes(start_ms, target_ms, None, "this machine, by the user")


def horizon_text(horizon: Horizon, start_ms: float | None, target_ms: float | None) -> str:
    """Return the staircase for an agent: which share of the way each record recovers."""
    head = (
        f"# The horizon\n\nThe score is 0 at the start's time and 1 at the time of record {horizon.record}."
    )
    if start_ms is not None and target_ms is not None:
        head += f" These are {start_ms / 1000:.3f} s and {target_ms / 1000:.3f} s."
    else:
        head += (
            " Both are measured when the session ends, beside the fastest valid evaluation, on this machine "
            "and in the image of this session. Until then no score is shown."
        )
    count = len(horizon.steps) - 2
    return f"{head} {count} human records lie between them." if count > 0 else head


def staircase(horizon: Horizon, spec: AgentSpec) -> tuple[Mapping[str, Any], ...]:
    """Return each record's share, and its time as it would be on this machine."""
    start, end = spec.evaluation.start_ms, spec.evaluation.target_ms
    if start is None or end is None:
        return ()
    return tuple(
        {"record": step.record, "recovered": step.share, "time_ms": start - step.share * (start - end)}
        for step in horizon.steps
    )

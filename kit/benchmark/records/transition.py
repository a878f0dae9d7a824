"""What a record's file states beyond the record: runs of its directory, and the step to the next record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class TransitionKind(StrEnum):
    """What separates a start record from its target."""

    CODE = "code"
    """One idea."""
    MULTI = "multi"
    """Several ideas, or a rewrite with some."""
    TORCH = "torch"
    """A torch version."""


@dataclass(frozen=True, slots=True)
class Transition:
    """The step from a later record to its target."""

    kind: TransitionKind
    recommended: bool
    """False where the gap is below 0.6 % of the start's time."""
    torch_differs: bool
    """Whether the official gap includes a torch change, which one image does not reproduce."""
    runs_for_loss: int | None
    """
    Runs that show the target's mean loss to be below 3.28 at p < 0.01 with 80 % power.

    None where its published runs are not below.
    """


@dataclass(frozen=True, slots=True)
class SameNodeRuns:
    """Statistics of 8-GPU runs of one script in one upstream directory, mostly on one machine."""

    runs: int
    mean_ms: float
    sd_ms: float | None
    mean_val_loss: float
    sd_val_loss: float | None
    commit: str | None = None
    """With `folder`, where the logs are; both None if they are in the pinned log's directory."""
    folder: str | None = None
    note: str = ""


def read_transition(d: dict[str, Any] | None) -> Transition | None:
    """Return the transition of a record's `[task]` table."""
    if d is None:
        return None
    kind = TransitionKind(d["kind"])
    return Transition(kind, d["recommended"], d["torch_differs"], d.get("runs_for_loss"))


def read_same_node(d: dict[str, Any] | None) -> SameNodeRuns | None:
    """Return the runs of a record's `time.same_node` table."""
    return None if d is None else SameNodeRuns(**{"sd_ms": None, "sd_val_loss": None, **d})

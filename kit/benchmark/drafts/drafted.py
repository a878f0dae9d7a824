"""The values that make up a draft."""

from __future__ import annotations

from dataclasses import dataclass

from kit.benchmark.drafts.clone import LeaderboardRow
from kit.benchmark.drafts.script_facts import ScriptFacts
from kit.values.logread import Log


@dataclass(frozen=True, slots=True)
class EraVersions:
    """What an era's image has."""

    era: str
    torch: str
    """With its build: `2.10.0+cu128`."""
    triton: str | None
    python: str


@dataclass(frozen=True, slots=True)
class UpstreamOrigin:
    """Where a file is in upstream's repository."""

    commit: str
    path: str


@dataclass(frozen=True, slots=True)
class LogSource:
    """The bytes of a log, and where it is upstream if that is known."""

    data: bytes
    origin: UpstreamOrigin | None


@dataclass(frozen=True, slots=True)
class DirectoryRuns:
    """Statistics of the 8-GPU runs of one script in one directory of logs."""

    runs: int
    mean_ms: float
    sd_ms: float | None
    mean_val_loss: float
    sd_val_loss: float | None


@dataclass(frozen=True, slots=True)
class RecordDraft:
    """Everything that a draft states; None and empty where it is not known."""

    name: str
    log: LogSource | None
    read: Log | None
    files: tuple[tuple[str, bytes], ...]
    commit: str | None
    """The commit that the files are from; None if they are from the log."""
    facts: ScriptFacts
    row: LeaderboardRow | None
    runs: DirectoryRuns | None
    era: EraVersions | None

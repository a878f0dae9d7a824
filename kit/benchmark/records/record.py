"""The facts of one record, read from `records/NN.toml`. Fetches nothing and runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from kit.core.digest import Sha256, sha256_bytes
from kit.core.errors import SchemaError, UsageError
from kit.core.schema import read_toml
from kit.values.deadlines import Deadlines
from kit.values.fidelity import Fidelity
from kit.values.task_id import TASK_ID, file_label

TARGET_VAL_LOSS = 3.28
"""Nats per token that every record had to reach on average; single pinned runs end just above it."""

UPSTREAM = "KellerJordan/modded-nanogpt"


class ScriptSource(StrEnum):
    """Where a record's script is kept upstream."""

    LOG = "log"
    """Embedded in the pinned log."""
    FILE = "file"
    """A file of one commit; its arguments stood in run.sh."""


class WorldSize(StrEnum):
    """What a script does with another number of GPUs than 8."""

    EXACTLY_8 = "exactly-8"
    """It stops: the total batch is asserted."""
    BATCH_SCALES = "batch-scales"
    """It runs, with a batch that is smaller in silence: not the record any more."""
    ACCUMULATES = "accumulates"
    """Any divisor of 8 takes the same steps by gradient accumulation."""
    SPLITS = "splits"
    """Any divisor of 8 takes the same steps: one batch of fixed size is split over the ranks."""

    def keeps_the_record(self, gpus: int) -> bool:
        """Tell whether a run on `gpus` GPUs takes the record's own optimisation steps."""
        match self:
            case WorldSize.EXACTLY_8 | WorldSize.BATCH_SCALES:
                return gpus == 8
            case WorldSize.ACCUMULATES | WorldSize.SPLITS:
                return gpus in (1, 2, 4, 8)


class LineEdit(StrEnum):
    """What an edit does with whole lines."""

    COMMENT = "comment"
    UNCOMMENT = "uncomment"


@dataclass(frozen=True, slots=True)
class UpstreamFile:
    """One file of one upstream commit."""

    commit: str
    path: str
    size: int
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class PinnedLog:
    """What the log that upstream pinned for the record ends with."""

    file: UpstreamFile
    grammar: str
    """A value of `kit.values.log.Grammar`; of the file, which may differ from the script's stdout."""
    final_step: int
    final_val_loss: float
    train_time_ms: int | None


@dataclass(frozen=True, slots=True)
class ScriptFile:
    """One file that the script consists of, after the edits."""

    name: str
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines that are commented out or in, because the script as published cannot run in an image."""

    file: str
    change: LineEdit
    lines: tuple[int, ...]
    """Counted from 1."""
    why: str


@dataclass(frozen=True, slots=True)
class Script:
    """A record's script: where it is, and what it must be."""

    source: ScriptSource
    origin: UpstreamFile
    args_commit: str | None
    entry: str
    args: tuple[str, ...]
    folders: tuple[str, ...]
    files: tuple[ScriptFile, ...]
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One record."""

    number: int
    next_record: int | None
    no_task: str | None
    """Why no task starts here; None if one does."""
    date: str
    title: str
    contributors: tuple[str, ...]
    official_s: float
    retimed_ms: int
    """Mean of the paper's three runs on its own machines."""
    retimed_sd_ms: float
    log: PinnedLog | None
    script: Script
    era: str
    torch: str | None
    """As the log says; None where it does not."""
    python: str | None
    torch_fidelity: Fidelity
    python_fidelity: Fidelity
    grammar: str
    """How the script prints its claims on stdout: a value of `kit.values.log.Grammar`."""
    steps: int
    untimed_steps: int
    world_size: WorldSize
    world_size_note: str
    tokens_per_step: int
    train_shards: int
    val_tokens: int
    deadlines: Deadlines
    manifest_sha256: Sha256
    """Of the TOML file's bytes."""

    @property
    def name(self) -> str:
        """The record's name, as results and tasks give it."""
        return str(self.number)

    @property
    def target(self) -> str | None:
        """The name of the next record."""
        return None if self.next_record is None else str(self.next_record)

    @property
    def target_val_loss(self) -> float:
        """Nats per token that a run must reach."""
        return TARGET_VAL_LOSS


def known(records: Path) -> list[int]:
    """Return the numbers of the records in the folder `records`, in order."""
    return sorted(int(p.stem) for p in records.glob("[0-9][0-9].toml"))


def load(records: Path, name: str | int) -> Record:
    """
    Read the record called `name` from the directory `records`.

    Raises `UsageError` listing the known ones if there is none, `SchemaError` if the file is not of the
    form `record.v1` or its number is not its name. Nothing is compared with upstream here.
    """
    path = records / f"{file_label(str(name))}.toml"
    if not TASK_ID.fullmatch(str(name)) or not path.is_file():
        numbers = ", ".join(str(n) for n in known(records)) or "none"
        raise UsageError(
            f"there is no record {name} in {records} (known: {numbers})", "list them: speedrun record list"
        )
    document = read_toml(path, "record.v1")
    if str(document["number"]) != str(name):
        raise SchemaError(f"{path}: it is about record {document['number']}")
    return _record(document, sha256_bytes(path.read_bytes()), str(path))


def load_all(records: Path) -> tuple[Record, ...]:
    """Read every record of the folder, in order. Raises as `load` does."""
    return tuple(load(records, n) for n in known(records))


def _record(d: dict[str, Any], manifest: Sha256, where: str) -> Record:
    log = _log(d["log"]) if "log" in d else None
    environment, run, time, data = d["environment"], d["run"], d["time"], d["data"]
    return Record(
        number=d["number"],
        next_record=d.get("next"),
        no_task=d.get("no_task"),
        date=d["date"],
        title=d["title"],
        contributors=tuple(d["contributors"]),
        official_s=float(time["official_s"]),
        retimed_ms=time["retimed_ms"],
        retimed_sd_ms=float(time["retimed_sd_ms"]),
        log=log,
        script=_script(d["script"], log, where),
        era=environment["era"],
        torch=environment.get("torch"),
        python=environment.get("python"),
        torch_fidelity=Fidelity(environment["fidelity"]["torch"]),
        python_fidelity=Fidelity(environment["fidelity"]["python"]),
        grammar=run["grammar"],
        steps=run["steps"],
        untimed_steps=run["untimed_steps"],
        world_size=WorldSize(run["world_size"]),
        world_size_note=run.get("world_size_note", ""),
        tokens_per_step=data["tokens_per_step"],
        train_shards=data["train_shards"],
        val_tokens=data["val_tokens"],
        deadlines=Deadlines(**{name: float(value) for name, value in d["deadlines"].items()}),
        manifest_sha256=manifest,
    )


def _log(d: dict[str, Any]) -> PinnedLog:
    return PinnedLog(
        file=_upstream(d),
        grammar=d["grammar"],
        final_step=d["final_step"],
        final_val_loss=float(d["final_val_loss"]),
        train_time_ms=d.get("train_time_ms"),
    )


def _script(d: dict[str, Any], log: PinnedLog | None, where: str) -> Script:
    source = ScriptSource(d["source"])
    match source:
        case ScriptSource.LOG if log is not None:
            origin = log.file
        case ScriptSource.LOG:
            raise SchemaError(f"{where}: the script is said to be in the log, but there is no [log]")
        case ScriptSource.FILE:
            origin = _upstream(d)
    return Script(
        source=source,
        origin=origin,
        args_commit=d.get("args_commit"),
        entry=d["entry"],
        args=tuple(d["args"]),
        folders=tuple(d["folders"]),
        files=tuple(ScriptFile(f["name"], Sha256(f["sha256"])) for f in d["files"]),
        edits=tuple(
            Edit(e["file"], LineEdit(e["change"]), tuple(e["lines"]), e["why"]) for e in d.get("edits", ())
        ),
    )


def _upstream(d: dict[str, Any]) -> UpstreamFile:
    return UpstreamFile(d["commit"], d["path"], d["size"], Sha256(d["sha256"]))

"""Read the facts of a record from `records/NN.toml` (`record.v1` or `record.v2`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from kit.benchmark.records.evidence import cadence_of
from kit.benchmark.records.transition import SameNodeRuns, Transition, read_same_node, read_transition
from kit.core.digest import Sha256, sha256_bytes
from kit.core.errors import SchemaError, UsageError
from kit.core.schema import read_toml, validate
from kit.values.cadence import Cadence
from kit.values.deadlines import Deadlines
from kit.values.fidelity import Fidelity
from kit.values.task_id import TASK_ID, file_label, leading_number

TARGET_VAL_LOSS = 3.28
"""Nats per token that every record had to reach on average; some single runs end just above it."""

UPSTREAM = "KellerJordan/modded-nanogpt"


class ScriptSource(StrEnum):
    """The upstream source of a record's script."""

    LOG = "log"
    """Embedded in the pinned log."""
    FILE = "file"
    """A file of one commit; its arguments are from run.sh."""
    KIT = "kit"
    """The kit's own file, in `records/smoke/`."""


class WorldSize(StrEnum):
    """The behaviour of a script with a number of GPUs other than 8."""

    EXACTLY_8 = "exactly-8"
    """It stops, because it asserts the total batch size."""
    BATCH_SCALES = "batch-scales"
    """It silently uses a smaller batch, which is a different task."""
    ACCUMULATES = "accumulates"
    """Any divisor of 8 gives the same steps, by gradient accumulation."""
    SPLITS = "splits"
    """Any divisor of 8 gives the same steps: a batch of fixed size is split over the ranks."""

    def keeps_the_record(self, gpus: int) -> bool:
        """Return whether a run on `gpus` GPUs takes the record's optimisation steps."""
        match self:
            case WorldSize.EXACTLY_8 | WorldSize.BATCH_SCALES:
                return gpus == 8
            case WorldSize.ACCUMULATES | WorldSize.SPLITS:
                return gpus in (1, 2, 4, 8)


class LineEdit(StrEnum):
    """What an edit does to lines of a published script: comment them out, or remove the comment mark."""

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
    """The log that upstream published for the record, with its final values."""

    file: UpstreamFile
    grammar: str
    """Grammar of the file, a value of `kit.values.log.Grammar`; the script's stdout may differ."""
    final_step: int
    final_val_loss: float
    train_time_ms: int | None


@dataclass(frozen=True, slots=True)
class ScriptFile:
    """One file of the script, after the edits."""

    name: str
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines to comment out or to uncomment, because the published script cannot run in an image."""

    file: str
    change: LineEdit
    lines: tuple[int, ...]
    """Counted from 1."""
    why: str


@dataclass(frozen=True, slots=True)
class Script:
    """A record's script: its source, digests and edits."""

    source: ScriptSource
    origins: tuple[UpstreamFile, ...]
    """Files to fetch: the published log, or one upstream file for each of `files`; none of source kit."""
    args_commit: str | None
    entry: str
    args: tuple[str, ...]
    folders: tuple[str, ...]
    files: tuple[ScriptFile, ...]
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One record."""

    name: str
    """`3`, `21c`."""
    target: str | None
    """Name of the record that this record's task aims at."""
    no_task: str | None
    """Reason why no task starts at this record; None if one does."""
    transition: Transition | None
    """The step to the target; only later records' files state it."""
    date: str
    title: str
    contributors: tuple[str, ...]
    official_s: float
    retimed_ms: int | None
    """Mean of the paper's three runs; None for later records."""
    retimed_sd_ms: float | None
    same_node: SameNodeRuns | None
    log: PinnedLog | None
    script: Script
    era: str
    torch: str | None
    """Version from the log; None if the log does not state it."""
    python: str | None
    torch_fidelity: Fidelity
    python_fidelity: Fidelity
    other_fidelity: tuple[tuple[str, Fidelity], ...]
    """That of other components, such as triton; only later records' files state it."""
    grammar: str
    """Grammar of the script's stdout: a value of `kit.values.log.Grammar`."""
    steps: int
    untimed_steps: int
    world_size: WorldSize
    world_size_note: str
    tokens_per_step: int
    train_shards: int
    val_tokens: int
    target_val_loss: float
    """Loss that a run must reach, in nats per token."""
    cadence: Cadence
    """The lines that the script prints."""
    deadlines: Deadlines
    manifest_sha256: Sha256
    """Digest of the TOML file."""

    @property
    def number(self) -> int:
        """Return the number in the name, for sorting and file names; 0 for a smoke record."""
        return leading_number(self.name)

    @property
    def reference_ms(self) -> float:
        """Return the reference time for scores: re-timed if available, else official."""
        return 1000 * self.official_s if self.retimed_ms is None else float(self.retimed_ms)

    @property
    def manifest(self) -> str:
        """Return the path of its file, relative to the facts directory."""
        return f"records/{file_label(self.name)}.toml"


FORMS = ("record.v1", "record.v2")


def known(records: Path) -> list[str]:
    """Return the names of the upstream records in the directory `records`, in order."""
    labels = [p.stem for p in records.glob("[0-9][0-9]*.toml") if p.stem[-1].isalnum()]
    names = [label.lstrip("0") for label in labels]
    return sorted((n for n in names if TASK_ID.fullmatch(n)), key=lambda n: (leading_number(n), n))


def known_smoke(records: Path) -> list[str]:
    """Return the names of the smoke records in the directory `records`, in order."""
    return sorted(p.stem for p in records.glob("smoke-[1-9].toml"))


def load(records: Path, name: str | int) -> Record:
    """
    Read the record called `name` from the directory `records`.

    Raises `UsageError` with the known records if there is none of this name, `SchemaError` if the file is
    neither `record.v1` nor `record.v2` or contains another name. The files are not compared with upstream
    here.
    """
    path = records / f"{file_label(str(name))}.toml"
    if not TASK_ID.fullmatch(str(name)) or not path.is_file():
        names = ", ".join([*known(records), *known_smoke(records)]) or "none"
        raise UsageError(
            f"record {name} not found in {records} (known: {names})", "list the records: speedrun record list"
        )
    document = read_toml(path)
    form = document.get("schema")
    validate(form if form in FORMS else FORMS[0], document, str(path))
    own = str(document.get("id", document.get("number")))
    if own != str(name):
        raise SchemaError(f"{path}: the file describes record {own}, not {name}")
    cadence = Cadence(**{"training_every": None, **document["evidence"]}) if form == FORMS[1] else None
    return _record(document, cadence or cadence_of(records, own), sha256_bytes(path.read_bytes()), str(path))


def load_all(records: Path) -> tuple[Record, ...]:
    """Read every upstream record of the directory, in order. Raises as `load` does."""
    return tuple(load(records, n) for n in known(records))


def _record(d: dict[str, Any], cadence: Cadence, manifest: Sha256, where: str) -> Record:
    log = _log(d["log"]) if "log" in d else None
    environment, run, time, data = d["environment"], d["run"], d["time"], d["data"]
    retimed = time.get("retimed", {"mean_ms": time.get("retimed_ms"), "sd_ms": time.get("retimed_sd_ms")})
    target = d.get("target", d.get("next"))
    return Record(
        name=str(d.get("id", d.get("number"))),
        target=None if target is None else str(target),
        no_task=d.get("no_task"),
        transition=read_transition(d.get("task")),
        date=d["date"],
        title=d["title"],
        contributors=tuple(d["contributors"]),
        official_s=float(time["official_s"]),
        retimed_ms=retimed["mean_ms"],
        retimed_sd_ms=None if retimed["sd_ms"] is None else float(retimed["sd_ms"]),
        same_node=read_same_node(time.get("same_node")),
        log=log,
        script=_script(d["script"], log, where),
        era=environment["era"],
        torch=environment.get("torch"),
        python=environment.get("python"),
        torch_fidelity=Fidelity(environment["fidelity"]["torch"]),
        python_fidelity=Fidelity(environment["fidelity"]["python"]),
        other_fidelity=tuple(
            (name, Fidelity(level))
            for name, level in sorted(environment["fidelity"].items())
            if name not in ("torch", "python")
        ),
        grammar=run["grammar"],
        steps=run["steps"],
        untimed_steps=run["untimed_steps"],
        world_size=WorldSize(run["world_size"]),
        world_size_note=run.get("world_size_note", ""),
        tokens_per_step=data["tokens_per_step"],
        train_shards=data["train_shards"],
        val_tokens=data["val_tokens"],
        target_val_loss=float(run.get("target_val_loss", TARGET_VAL_LOSS)),
        cadence=cadence,
        deadlines=Deadlines(**{key: float(value) for key, value in d["deadlines"].items()}),
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
            origins: tuple[UpstreamFile, ...] = (log.file,)
        case ScriptSource.LOG:
            raise SchemaError(f"{where}: script.source is log, but there is no [log] table")
        case ScriptSource.FILE:
            # record.v1 has one file, with its origin in the same table
            tables = [d] if "path" in d else [f["origin"] for f in d["files"] if "origin" in f]
            if len(tables) != len(d["files"]):
                raise SchemaError(f"{where}: a file of the script has no origin")
            origins = tuple(_upstream(origin) for origin in tables)
        case ScriptSource.KIT:
            origins = ()
    return Script(
        source=source,
        origins=origins,
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

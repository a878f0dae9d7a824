"""
A cumulative run: searches in a row, each from the best valid script of the one before (`ChainSpec`, `Chain`).

Its directory holds `chain-spec.json`, one agent's run per stage in `stages/`, and the signed `chain.json`.
What a chain is follows from the spec and the stages' journals alone, so it can be killed at any moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kit.agent.journal import JOURNAL
from kit.agent.nodefiles import NodeFiles
from kit.agent.recorded import RecordedRun, bundle_folder, read_file, read_run
from kit.agent.spec import SPEC_SCHEMA, AgentSpec, differences, run_id, spec_sha256
from kit.agent.summary import JournalDigest
from kit.agent.task import OwnStart
from kit.core.codec import decode, encode
from kit.core.digest import Sha256, canonical_json, sha256_bytes
from kit.core.errors import IntegrityError
from kit.core.files import write_atomic
from kit.core.schema import read_json, validate
from kit.score.metrics import fsr
from kit.series.record import RECORD
from kit.values.task_id import file_label

CHAIN_SPEC = "chain-spec.json"
STAGES = "stages"
SPEC_OF_CHAIN = "agent-chain-spec.v1"
OF_STAGE = frozenset(
    (
        "task",
        "start_sha256",
        "prompts_sha256",
        "kit_version",
        "evaluation.gpus",
        "evaluation.image",
        "evaluation.start_ms",
        "evaluation.start_sd_ms",
        "evaluation.target_ms",
        "evaluation.worst_wall_s",
    )
)
"""Fields of a stage's spec that follow from its task, from the stage before, or from the kit's version."""
FIRST = Sha256("0" * 64)
"""`previous` of the first stage."""


class ChainEnd(StrEnum):
    """Why a cumulative run ended."""

    COMPLETE = "complete"
    """The last task has a winner that was timed again."""
    NO_VALID_NODE = "no_valid_node"
    """No node of the last stage reached the target loss: there is no script to go on with."""
    NOT_REPRODUCED = "not_reproduced"
    """When the last stage's winner was timed again, no run reached the target loss and passed its audits."""


@dataclass(frozen=True, slots=True)
class ChainTask:
    """A task of a chain, and the records' times that its FSR is measured between."""

    task: str
    start_ms: float | None
    """Time of the task's own start record in milliseconds; None: unknown in this profile."""
    target_ms: float | None


@dataclass(frozen=True, slots=True)
class ChainSpec:
    """Every choice of a cumulative run."""

    tasks: tuple[ChainTask, ...]
    """The stages, in order."""
    retime: int
    """Runs of each stage's winner in a fresh series."""
    image: str | None
    """The image of all stages; None: that of each task's record."""
    first: AgentSpec
    """The spec of the first stage. Later ones differ in task, start script, image and times."""


@dataclass(frozen=True, slots=True)
class ChainWinner:
    """The fastest valid node of a stage, with its time in the search and in the fresh series."""

    node: int
    submission_sha256: Sha256
    bundle_sha256: Sha256
    search_ms: float
    series: str
    series_sha256: Sha256
    """Of the series' signed record, which has the digest of each run's bundle."""
    runs: int
    reached: int
    """Runs of the series that reached the target loss and passed every audit."""
    retimed_ms: float | None
    """Mean time of those runs; None: there was none."""
    retimed_sd_ms: float | None
    fsr: float | None
    """Of the mean time, between the records' times of the task."""
    faster_than_start: bool | None
    """Whether the mean time is below the stage's start; None if one of them is unknown."""


@dataclass(frozen=True, slots=True)
class ChainStage:
    """A stage that has ended."""

    number: int
    """From 1."""
    previous: Sha256
    """The digest of the stage before, as canonical JSON; `FIRST` for the first."""
    task: str
    run: str
    spec_sha256: Sha256
    journal: JournalDigest
    start_sha256: Sha256
    """Of the start script's files: those of the winner before, or of the first record."""
    start_ms: float | None
    winner: ChainWinner | None
    """None: no node reached the target loss."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A cumulative run as its directory tells it."""

    spec_sha256: Sha256
    kit_version: str
    stages: tuple[ChainStage, ...]
    """Those that have ended, in order."""
    end: ChainEnd | None
    """None: another stage follows."""


def chain_id(spec: ChainSpec) -> str:
    """Return the id of a cumulative run: the first 16 digits of its spec's digest."""
    return chain_spec_sha256(spec)[:16]


def chain_spec_sha256(spec: ChainSpec) -> Sha256:
    """Return the digest of a spec's canonical JSON."""
    return sha256_bytes(canonical_json(encode(ChainSpec, spec)))


def write_chain_spec(folder: Path, spec: ChainSpec) -> None:
    """Write the spec of a chain. Raises `SchemaError` if it is invalid."""
    document = encode(ChainSpec, spec)
    validate(SPEC_OF_CHAIN, document, CHAIN_SPEC)
    validate(SPEC_SCHEMA, document["first"], f"{CHAIN_SPEC}: first")
    write_atomic(folder / CHAIN_SPEC, canonical_json(document) + b"\n")


def read_chain_spec(folder: Path) -> ChainSpec:
    """Read the spec of a chain. Raises `PrerequisiteError` if it is missing, `SchemaError` if invalid."""
    path = folder / CHAIN_SPEC
    document = read_json(path, SPEC_OF_CHAIN)
    validate(SPEC_SCHEMA, document["first"], f"{path}: first")
    spec: ChainSpec = decode(ChainSpec, document, str(path))
    return spec


def is_chain(folder: Path) -> bool:
    """Tell whether a directory is that of a cumulative run."""
    return (folder / CHAIN_SPEC).is_file()


def stage_name(spec: ChainSpec, number: int) -> str:
    """Return the name of a stage's directory."""
    return f"{number:02d}-{file_label(spec.tasks[number - 1].task)}"


def stage_folder(folder: Path, spec: ChainSpec, number: int) -> Path:
    """Return the directory of a stage, which is that of an agent's run."""
    return folder / STAGES / stage_name(spec, number)


def read_chain(folder: Path, spec: ChainSpec) -> Chain:
    """
    Return the chain in a directory: the stages that have ended, and whether another one follows.

    A stage has ended if its search has, and if its winner, if any, was timed again. Raises `IntegrityError`
    for a stage that does not go on from the stage before, or that is a symbolic link.
    """
    stages: list[ChainStage] = []
    end: ChainEnd | None = None
    for number in range(1, len(spec.tasks) + 1):
        where = stage_folder(folder, spec, number)
        require_no_link(folder, where)
        run = read_run(where) if (where / JOURNAL).is_file() and _has_line(where) else None
        if run is None or not has_ended(run):
            break
        before = stages[-1] if stages else None
        stages.append(_stage(spec, number, run, before))
        end = _end(spec, stages[-1])
        if end is not None:
            break
    return Chain(chain_spec_sha256(spec), spec.first.kit_version, tuple(stages), end)


def require_no_link(folder: Path, stage: Path) -> None:
    """Raise `IntegrityError` if a stage, or the directory of all stages, is a symbolic link."""
    for path in (folder / STAGES, stage):
        if path.is_symlink():
            raise IntegrityError(
                f"{path} is a symbolic link: what it names is no part of this run",
                "copy the directory of the stage to its place",
            )


def has_ended(run: RecordedRun) -> bool:
    """Tell whether a stage has ended: its search has, and its winner was timed again."""
    ended = run.tree.ended
    return ended is not None and (ended.winner is None or run.retimed is not None)


def next_start(folder: Path, spec: ChainSpec, chain: Chain) -> OwnStart | None:
    """
    Return the start script of the next stage; None for the first stage: the record's.

    Raises `IntegrityError` if the winner's files were changed.
    """
    if not chain.stages:
        return None
    stage = chain.stages[-1]
    if stage.winner is None or stage.winner.retimed_ms is None:
        raise IntegrityError(f"stage {stage.number} has no script to go on with")
    files = NodeFiles(stage_folder(folder, spec, stage.number), stage.winner.node)
    submission = files.read_submission(stage.winner.submission_sha256)
    return OwnStart(submission, stage.winner.retimed_ms, stage.winner.retimed_sd_ms)


def stage_sha256(stage: ChainStage | None) -> Sha256:
    """Return the digest that the next stage names as its previous one."""
    return FIRST if stage is None else sha256_bytes(canonical_json(encode(ChainStage, stage)))


def _has_line(where: Path) -> bool:
    """Tell whether the journal has a complete line: a process can be killed before its first."""
    return b"\n" in read_file(where / JOURNAL)


def _stage(spec: ChainSpec, number: int, run: RecordedRun, before: ChainStage | None) -> ChainStage:
    task, own = spec.tasks[number - 1], run.spec
    if own.task != task.task or not _goes_on(spec, own, before):
        raise IntegrityError(
            f"{run.folder}: this stage does not start with the winner of the stage before, or is of task "
            f"{own.task} instead of {task.task}",
            "restore the directory from a copy",
        )
    changed = [name for name in differences(spec.first, own) if name not in OF_STAGE]
    if changed:
        raise IntegrityError(
            f"{run.folder}: this stage differs from the first one in {', '.join(changed)}",
            "restore the directory from a copy",
        )
    return ChainStage(
        number=number,
        previous=stage_sha256(before),
        task=task.task,
        run=run_id(own),
        spec_sha256=spec_sha256(own),
        journal=JournalDigest(len(run.lines), run.contents.head),
        start_sha256=own.start_sha256,
        start_ms=own.evaluation.start_ms,
        winner=_winner(spec, task, run),
    )


def _goes_on(spec: ChainSpec, own: AgentSpec, before: ChainStage | None) -> bool:
    """Tell whether a stage has the first stage's spec, or starts as the stage before has ended."""
    if before is None:
        return own == spec.first
    won = before.winner
    start = own.start_sha256, own.evaluation.start_ms, own.evaluation.start_sd_ms
    return won is not None and start == (won.submission_sha256, won.retimed_ms, won.retimed_sd_ms)


def _winner(spec: ChainSpec, task: ChainTask, run: RecordedRun) -> ChainWinner | None:
    ended, retimed = run.tree.ended, run.retimed
    if ended is None or ended.winner is None or retimed is None:
        return None
    node = run.tree.node(ended.winner)
    if node.submission_sha256 is None or node.evaluation is None or retimed.node != node.id:
        raise IntegrityError(f"{run.folder}: node {node.id} was not timed again, or has no script")
    if retimed.runs != spec.retime:
        raise IntegrityError(
            f"{run.folder}: the winner was timed again in {retimed.runs} runs, expected {spec.retime}"
        )
    start_ms, mean_ms = run.spec.evaluation.start_ms, retimed.mean_ms
    record = read_file(bundle_folder(run.folder, retimed.series) / RECORD)
    return ChainWinner(
        node=node.id,
        submission_sha256=Sha256(node.submission_sha256),
        bundle_sha256=Sha256(node.evaluation.bundle_sha256),
        search_ms=retimed.search_ms,
        series=retimed.series,
        series_sha256=sha256_bytes(record),
        runs=retimed.runs,
        reached=retimed.reached,
        retimed_ms=mean_ms,
        retimed_sd_ms=retimed.sd_ms,
        fsr=_fsr(task, mean_ms),
        faster_than_start=None if start_ms is None or mean_ms is None else mean_ms < start_ms,
    )


def _fsr(task: ChainTask, mean_ms: float | None) -> float | None:
    if mean_ms is None or task.start_ms is None or task.target_ms is None:
        return None
    return fsr(task.start_ms, task.target_ms, mean_ms)


def _end(spec: ChainSpec, stage: ChainStage) -> ChainEnd | None:
    if stage.winner is None:
        return ChainEnd.NO_VALID_NODE
    if stage.winner.retimed_ms is None:
        return ChainEnd.NOT_REPRODUCED
    return ChainEnd.COMPLETE if stage.number == len(spec.tasks) else None

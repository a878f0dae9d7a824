"""What a profile makes of a record's task: data, script, target, GPUs, limits, reasons against a rank."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from kit.audit import held_out
from kit.benchmark import records
from kit.benchmark.records import Record, smoke_cadence
from kit.core.errors import UsageError
from kit.data.canary_streams import DOCUMENT, LONG_DOCUMENT, VOCABULARY
from kit.data.synth import SmokeSpec, load_smoke
from kit.evaluate.launch import full_limits, script_environment
from kit.evaluate.request import Places, Request
from kit.evaluate.start_script import RecordScript, ReferenceTrainer, StartScript
from kit.evaluate.task_data import FinewebTaskData, SmokeTaskData, TaskData
from kit.evaluate.worldsize import world_size_blockers
from kit.values.cadence import Cadence
from kit.values.deadlines import Deadlines
from kit.values.hardware import RECORD_GPUS
from kit.values.log import Grammar
from kit.values.profile import Profile
from kit.values.run_spec import GIB, Limits
from kit.values.task_id import LATER_SET, is_smoke, set_of

SMOKE_ERA = "cpu"


@dataclass(frozen=True, slots=True)
class SamplerTerms:
    """How the model is trained whose samples are a canary stream."""

    args: tuple[str, ...]
    """Arguments of the reference trainer."""
    length: int
    """Tokens of one sample."""


FULL_SAMPLER = SamplerTerms(("--steps", "1500", "--val-every", "500"), DOCUMENT)
"""A model of GPT-2's size, trained long enough to write words; its loss need not be low."""


@dataclass(frozen=True, slots=True)
class TaskTerms:
    """All that follows from the task, the profile and the number of GPUs. Losses are nats per token."""

    profile: Profile
    era: str
    """The image that it runs in, unless the request names another."""
    data: TaskData
    start_script: StartScript
    env: tuple[tuple[str, str], ...]
    limits: Limits
    deadlines: Deadlines
    untimed_steps: int
    world_size: int
    gpus: int
    grammar: Grammar
    cadence: Cadence
    """The lines that a run owes."""
    val_tokens: int
    target_val_loss: float
    target_source: str
    vocabulary: int
    """Its logarithm is near the loss at step 0."""
    floor: float | None
    """No model can have a lower loss on the data; None where that is not known."""
    sampler: SamplerTerms
    document: int
    """Mean number of tokens of a document in a canary stream of a Markov language."""
    held_out_sd: float
    """Of what `held_out` compares, from one honest run to the next."""
    target_share: float
    """Least share of the start script's time or steps that the task's target record needs; 1 if not known."""
    ranking_blockers: tuple[str, ...]
    """Why a result cannot be ranked, beside what the result itself shows."""


def resolve_terms(request: Request, record: Record, places: Places) -> TaskTerms:
    """Return what the profile makes of the task. Raises `UsageError` for GPUs that do not suit it."""
    match request.profile:
        case Profile.SMOKE:
            return _smoke_terms(request, record, places)
        case Profile.FULL:
            return _full_terms(request, record)
        case _:
            assert_never(request.profile)


def _smoke_terms(request: Request, record: Record, places: Places) -> TaskTerms:
    if request.gpus:
        raise UsageError("the smoke profile runs on CPUs", "leave --gpus out, or use --profile full")
    smoke = load_smoke(places.records)
    terms = _reference_terms(smoke, smoke_cadence(places.records))
    if not is_smoke(record.name):
        return terms
    return replace(
        terms,
        start_script=RecordScript(record),
        deadlines=record.deadlines,
        untimed_steps=record.untimed_steps,
        cadence=record.cadence,
        target_val_loss=record.target_val_loss,
        target_source=f"records/{record.name}.toml",
        target_share=_target_share(record, places),
    )


def _target_share(record: Record, places: Places) -> float:
    """Return the share of time or steps, whichever is less; 1 if the target record is not at hand."""
    if record.target is None or record.target not in records.known_smoke(places.records):
        return 1.0
    target = records.load(places.records, record.target)
    return min(target.reference_ms / record.reference_ms, target.steps / record.steps)


def _reference_terms(smoke: SmokeSpec, cadence: Cadence) -> TaskTerms:
    """Return the terms of an upstream record in the smoke profile: the reference trainer's."""
    return TaskTerms(
        profile=Profile.SMOKE,
        era=SMOKE_ERA,
        data=SmokeTaskData(smoke),
        start_script=ReferenceTrainer(smoke.guest.args),
        env=script_environment(smoke.val_tokens, dict(smoke.guest.env)),
        limits=Limits(memory=smoke.guest.memory, pids=512, shm=GIB, workspace=GIB, tmp=GIB),
        deadlines=smoke.deadlines,
        untimed_steps=smoke.guest.untimed_steps,
        world_size=smoke.guest.world_size,
        gpus=0,
        grammar=Grammar.STEP,
        cadence=cadence,
        val_tokens=smoke.val_tokens,
        target_val_loss=smoke.target,
        target_source=f"smoke language: floor {smoke.floor} and a margin",
        vocabulary=smoke.guest.vocabulary,
        floor=smoke.floor,
        sampler=SamplerTerms(smoke.guest.args, 64),
        document=DOCUMENT,
        held_out_sd=held_out.SMOKE_SD,
        target_share=1.0,
        ranking_blockers=(),
    )


def _full_terms(request: Request, record: Record) -> TaskTerms:
    if is_smoke(record.name):
        raise UsageError(f"record {record.name} runs only in the smoke profile", "add --profile smoke")
    gpus = RECORD_GPUS if request.gpus is None else request.gpus
    own_script = request.submission is None
    document = LONG_DOCUMENT if set_of(record.name) == LATER_SET else DOCUMENT
    blockers = world_size_blockers(record, gpus, request.accept_world_size, own_script)
    return TaskTerms(
        profile=Profile.FULL,
        era=record.era,
        data=FinewebTaskData(record),
        start_script=RecordScript(record),
        env=script_environment(record.val_tokens, {}),
        limits=full_limits(),
        deadlines=record.deadlines,
        untimed_steps=record.untimed_steps,
        world_size=gpus,
        gpus=gpus,
        grammar=Grammar(record.grammar),
        cadence=record.cadence,
        val_tokens=record.val_tokens,
        target_val_loss=record.target_val_loss,
        target_source="the speedrun's rule",
        vocabulary=VOCABULARY,
        floor=None,
        sampler=replace(FULL_SAMPLER, length=document),
        document=document,
        held_out_sd=held_out.FULL_SD,
        target_share=1.0,
        ranking_blockers=blockers,
    )

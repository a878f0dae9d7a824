"""
Describe a plan: downloads, mounts, limits, and what prevents the run on this machine.

It looks at this machine and the store as they are now; it fetches and starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kit.core.errors import KitError
from kit.evaluate.compile_cache import SealedCache, find_cache
from kit.evaluate.gpus import look
from kit.evaluate.launch import DATA, search_path
from kit.evaluate.plan import RunPlan
from kit.evaluate.request import HOST_IMAGE, Places
from kit.gpu.driver import CONTROL, INSIDE, TOOLS
from kit.gpu.preflight import Level, Preflight, PreflightFinding
from kit.image.lock import read_lock
from kit.image.spec import read_spec
from kit.result.appraisal.verdict import WARM_IS_UNRANKED
from kit.result.predicate import CompileCache
from kit.values.deadlines import Deadlines
from kit.values.profile import Profile
from kit.values.run_spec import COMPILE_CACHE, SUBMISSION, WORKSPACE, Limits, RuntimeName
from kit.values.task_id import listed_as


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file that the run needs."""

    kind: str
    """`image`, `shard`, `held-out shard` or `script`."""
    name: str
    size: int
    """Bytes."""
    sha256: str | None
    """None where nothing states it yet."""
    present: bool
    """Whether the store has it."""


@dataclass(frozen=True, slots=True)
class PlannedGpu:
    """A GPU that the guest would get."""

    index: int
    name: str
    uuid: str
    memory: int
    """Bytes."""
    path: str
    """The device node."""


@dataclass(frozen=True, slots=True)
class PlannedDevices:
    """The device nodes that the guest would get."""

    control: tuple[str, ...]
    gpus: tuple[PlannedGpu, ...]


@dataclass(frozen=True, slots=True)
class PlannedWorkspace:
    """The folder that the guest writes in, and the folders that are made in it."""

    path: str
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What `eval --plan` answers; the names of the fields are those of its JSON object."""

    record: int | str
    """Its name; a number if it is one."""
    profile: Profile
    runtime: RuntimeName
    image: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    world_size: int
    gpus: int
    devices: PlannedDevices
    mounts: Mapping[str, str]
    """Path inside -> what is there, read-only."""
    workspace: PlannedWorkspace
    limits: Limits
    deadlines: Deadlines
    compile_cache: CompileCache
    compile_cache_sha256: str | None
    """Digest of the warm cache; None if it is cold or missing."""
    untimed_steps: int
    target_val_loss: float
    """Nats per token."""
    val_tokens: int
    artifacts: tuple[PlannedFile, ...]
    findings: tuple[PreflightFinding, ...]
    left_out: tuple[str, ...]
    """Files and directories beside the submission, which no run gets."""
    out: Path
    store: Path

    @property
    def missing(self) -> tuple[PlannedFile, ...]:
        """The files that are not in the store."""
        return tuple(a for a in self.artifacts if not a.present)

    @property
    def download_bytes(self) -> int:
        """Bytes to download."""
        return sum(a.size for a in self.missing)

    def document(self) -> dict[str, Any]:
        """Return the report as one JSON object; sizes are bytes, times seconds."""
        places = {"out": str(self.out), "store": str(self.store)}
        return {**asdict(self), **places, "download_bytes": self.download_bytes}


def describe_plan(plan: RunPlan, places: Places, held_out: bool = False) -> PlanReport:
    """
    Return what a plan would do on this machine now. Raises as reading the data set's file or lock does.

    `held_out` adds the shards that the audit of that name reads.
    """
    preflight = look(plan, places)
    image, image_findings = _image(plan, places)
    cache, cache_findings = _compile_cache(plan, places, preflight)
    shards, pinned = _shards(plan, places)
    others = _held_out_shards(plan, places) if held_out else ()
    return PlanReport(
        record=listed_as(plan.record.name),
        profile=plan.terms.profile,
        runtime=plan.runtime.name,
        image=plan.era,
        argv=plan.launcher(),
        env={"PATH": search_path(plan.era, plan.python), **dict(plan.terms.env)},
        world_size=plan.terms.world_size,
        gpus=plan.terms.gpus,
        devices=_devices(plan, preflight),
        mounts=_mounts(plan),
        workspace=PlannedWorkspace(str(WORKSPACE), plan.folders),
        limits=plan.terms.limits,
        deadlines=plan.deadlines,
        compile_cache=plan.compile_cache,
        compile_cache_sha256=cache.digest if cache else None,
        untimed_steps=plan.terms.untimed_steps,
        target_val_loss=plan.terms.target_val_loss,
        val_tokens=plan.terms.val_tokens,
        artifacts=(*image, *shards, *others, *_script(plan, places)),
        findings=(
            *image_findings,
            *preflight.findings,
            *cache_findings,
            *_shard_findings(plan, shards, pinned),
            *(PreflightFinding("ranking", Level.WARNING, reason) for reason in plan.terms.ranking_blockers),
        ),
        left_out=() if plan.submission is None else plan.submission.left_out,
        out=places.out,
        store=places.store.root,
    )


def _image(plan: RunPlan, places: Places) -> tuple[tuple[PlannedFile, ...], tuple[PreflightFinding, ...]]:
    if plan.era == HOST_IMAGE:
        return (), ()
    try:
        lock = read_lock(read_spec(places.images, plan.era))
    except KitError as e:
        return (), (PreflightFinding("image", Level.REFUSAL, e.message, e.hint),)
    artifacts = lock.artifacts
    return tuple(PlannedFile("image", a.name, a.size, a.sha256, places.store.has(a)) for a in artifacts), ()


def _compile_cache(
    plan: RunPlan, places: Places, preflight: Preflight
) -> tuple[SealedCache | None, tuple[PreflightFinding, ...]]:
    """Return a warm run's cache, whose files are compared only before the run, and what speaks against it."""
    if plan.compile_cache is CompileCache.COLD:
        return None, ()
    unranked = PreflightFinding("ranking", Level.WARNING, WARM_IS_UNRANKED)
    try:
        return find_cache(plan, places, preflight), (unranked,)
    except KitError as e:
        return None, (PreflightFinding("compile-cache", Level.REFUSAL, e.message, e.hint), unranked)


def _shards(plan: RunPlan, places: Places) -> tuple[tuple[PlannedFile, ...], bool]:
    """Return the shards, and whether the kit's own files say which bytes they are."""
    data = plan.terms.data.planned(places)
    return tuple(PlannedFile("shard", s.name, s.size, s.sha256, s.present) for s in data.shards), data.pinned


def _held_out_shards(plan: RunPlan, places: Places) -> tuple[PlannedFile, ...]:
    shards = plan.terms.data.planned_held_out(places)
    return tuple(PlannedFile("held-out shard", s.name, s.size, s.sha256, s.present) for s in shards)


def _shard_findings(
    plan: RunPlan, shards: tuple[PlannedFile, ...], pinned: bool
) -> Iterator[PreflightFinding]:
    absent = sum(not s.present for s in shards)
    if absent:
        detail = f"{absent} of {len(shards)} shards are missing"
        yield PreflightFinding(
            "shards", Level.REFUSAL, detail, f"speedrun data fetch --record {plan.record.name}"
        )
    if not pinned:
        yield PreflightFinding("data", Level.WARNING, "unpinned: no lock states the digests of the shards")


def _script(plan: RunPlan, places: Places) -> tuple[PlannedFile, ...]:
    needed = () if plan.submission is not None else plan.terms.start_script.to_fetch
    return tuple(PlannedFile("script", a.name, a.size, a.sha256, places.store.has(a)) for a in needed)


def _devices(plan: RunPlan, preflight: Preflight) -> PlannedDevices:
    control = tuple(f"/dev/{name}" for name in (*CONTROL, *TOOLS)) if plan.terms.gpus else ()
    gpus = (PlannedGpu(g.index, g.name, g.uuid, g.memory, f"/dev/nvidia{g.minor}") for g in preflight.gpus)
    return PlannedDevices(control, tuple(gpus))


def _mounts(plan: RunPlan) -> dict[str, str]:
    mounts = {str(SUBMISSION): "the submission", str(DATA): "the data"}
    if plan.compile_cache is CompileCache.WARM:
        mounts[str(COMPILE_CACHE)] = "the compile cache"
    if plan.terms.gpus and plan.runtime.name is not RuntimeName.HOST:
        mounts[str(INSIDE)] = "the driver's libraries and nvidia-smi, from this machine"
    return mounts

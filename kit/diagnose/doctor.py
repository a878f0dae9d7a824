"""
What works on this machine, found out by doing it: every runtime starts a real guest. Mends only when asked.

runc and host are asked with this machine's own files as the image, so that none has to be built first;
docker with the image `cpu`, if the engine has it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path

from kit.core import locks
from kit.core.errors import KitError, PrerequisiteError
from kit.core.locks import OwnerState
from kit.core.store import Store
from kit.evaluate import runtimes as engines
from kit.evaluate.recovery import close_lost
from kit.gpu.preflight import GpuRequirements, Sources, preflight
from kit.image.build import ensure_layout, survey
from kit.sandbox.engine import Engine
from kit.sandbox.folder import RunFolder, new_run_id, owner, unfinished
from kit.sandbox.isolation_probe import probe
from kit.sandbox.run_guest import guest_directory, run_guest
from kit.sandbox.runtime import docker
from kit.sandbox.runtime.docker import Docker
from kit.sandbox.runtime.hostimage import interpreter
from kit.sandbox.runtime.port import Runtime
from kit.sandbox.watchdog import watchdog
from kit.values.deadlines import Deadlines
from kit.values.run_result import RunStatus
from kit.values.run_spec import GIB, MIB, ImageRef, Limits, RunSpec, RuntimeName

ROOM_FOR_AN_ERA = 15 * GIB
ENGINE_PATIENCE_S = 5.0
INSTEAD = "use another --runtime"
ERA = "cpu"
"""The image that docker is asked to start; the smallest one."""


class Health(StrEnum):
    """How one thing is."""

    OK = "ok"
    MISSING = "missing"
    """Not here; what needs it cannot be done."""
    BROKEN = "broken"
    """Here, but it does not do what it should."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at."""

    id: str
    health: Health
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class DoctorConfig:
    """What is examined."""

    store: Store
    images: Path
    out: Path
    """Folder of runs."""
    keys: Path
    python: Path
    """The interpreter that runc's guest runs."""
    engine: str
    """The URL of the socket at which Docker or Podman would answer."""
    gpus: Sources = field(default_factory=Sources)


def examine(config: DoctorConfig, fix: bool) -> Iterator[Diagnosis]:
    """Look at everything in turn; with `fix`, end guests without a kit, close their records, tidy up."""
    yield _diagnosis(RuntimeName.DOCKER, partial(_try_docker, config))
    for name in (RuntimeName.RUNC, RuntimeName.HOST):
        yield _diagnosis(name, partial(_try_runtime, engines.make(name, config.python), config.python))
    yield gpus(config.gpus)
    yield _disk(config.store, fix)
    yield _containers(config.engine, fix)
    yield _lost(config.out, config.keys, fix)


def usable(diagnoses: list[Diagnosis]) -> bool:
    """Tell whether a contained run can be made here."""
    contained = [
        d for d in diagnoses if d.id in (f"runtime-{RuntimeName.RUNC}", f"runtime-{RuntimeName.DOCKER}")
    ]
    rest = [d for d in diagnoses if d.health is Health.BROKEN]
    return any(d.health is Health.OK for d in contained) and not rest


def _diagnosis(name: RuntimeName, attempt: Callable[[], str]) -> Diagnosis:
    title = f"runtime-{name}"
    try:
        return Diagnosis(title, Health.OK, attempt())
    except PrerequisiteError as e:
        return Diagnosis(title, Health.MISSING, e.message, e.hint)
    except KitError as e:
        return Diagnosis(title, Health.BROKEN, e.message, e.hint)


def _try_docker(config: DoctorConfig) -> str:
    with contextlib.closing(Engine(config.engine, ENGINE_PATIENCE_S)) as engine:
        about = engine.about()
        identity = _built_image(config)
        if identity is None or engine.image_id(identity.config_digest, identity.manifest_digest) is None:
            raise PrerequisiteError(
                f"{about.name} {about.version} answers, but no guest was started: it has no image {ERA}",
                f"speedrun image load {ERA}",
            )
    return f"{about.name}: {_try_runtime(Docker(config.engine), config.python, identity)}"


def _built_image(config: DoctorConfig) -> ImageRef | None:
    """Return the image if the store has it; nothing is fetched or built for a look."""
    if not survey(ERA, config.images, config.store).built:
        return None
    layout = ensure_layout(ERA, config.images, config.store, ())
    return ImageRef(ERA, layout.config_digest, layout.manifest_digest)


def _try_runtime(runtime: Runtime, python: Path, image: ImageRef | None = None) -> str:
    with guest_directory(None, "speedrun-doctor-") as scratch:
        submission = scratch / "submission"
        submission.mkdir(mode=0o755)
        (submission / "hello.txt").write_text("hello\n")
        spec = RunSpec(
            run_id=new_run_id(0),
            image=image,
            submission=submission,
            argv=("cat", "hello.txt"),
            env=(("PATH", "/usr/bin:/bin"),),
            limits=Limits(memory=GIB, pids=64, shm=MIB, workspace=MIB, tmp=MIB),
            deadlines=Deadlines(start_s=30, total_s=30),
        )
        inside = "python3" if image else str(interpreter(python).executable)
        with watchdog(runtime.reaper(spec.run_id)):
            if runtime.contains:
                probed = probe(runtime, spec, inside, scratch)
                if probed.failed:
                    listed = ", ".join(check.id for check in probed.failed)
                    raise KitError(f"it starts guests but does not contain them: {listed}", INSTEAD)
            with run_guest(runtime, spec, scratch) as run:
                printed = run.output.log.read_bytes()
        if run.result.status is not RunStatus.COMPLETED or printed != b"hello\n":
            raise KitError(f"a guest was started but did not do its work: {run.result.reason}", INSTEAD)
        if not runtime.contains:
            return "starts a process and ends it; contains nothing, never ranked"
        lacking = probed.enforcement.not_enforced
        limits = f"; not enforced here: {', '.join(lacking)}" if lacking else "; every limit is enforced"
        passed = f"{len(probed.checks)} isolation checks passed"
        return f"version {probed.enforcement.version} starts a guest, {passed}{limits}"


def gpus(sources: Sources) -> Diagnosis:
    """Tell which GPUs are here, and what would keep a full run from them or its result from being ranked."""
    try:
        inventory = sources.nvml.read()
    except KitError as e:
        return Diagnosis("gpus", Health.MISSING, e.message, e.hint)
    count = len(inventory.gpus)
    hidden = f"; CUDA_VISIBLE_DEVICES hides {inventory.hidden} more" if inventory.hidden else ""
    if not count:
        none = f"no NVIDIA GPU; only the smoke profile runs here{hidden}"
        return Diagnosis("gpus", Health.MISSING, none)
    ready = preflight(GpuRequirements(count, if_fewer="see: nvidia-smi"), sources)
    names = ", ".join(sorted({gpu.name for gpu in ready.gpus}))
    detail = f"{count} x {names}, driver {ready.driver}{hidden}"
    odd = (*ready.refusals, *ready.warnings)
    if odd:
        return Diagnosis(
            "gpus", Health.MISSING, "; ".join((detail, *(finding.detail for finding in odd))), odd[0].fix
        )
    return Diagnosis("gpus", Health.OK, detail)


def _disk(store: Store, fix: bool) -> Diagnosis:
    try:
        if fix:
            store.tidy()
        free = shutil.disk_usage(store.room("blobs")).free
        locked = locks.supported(store.room("locks"))
    except KitError as e:
        return Diagnosis("store", Health.BROKEN, e.message, e.hint)
    except OSError as e:
        return Diagnosis(
            "store", Health.BROKEN, f"cannot write {store.root}: {e.strerror}", "choose another --store"
        )
    detail = f"{store.root}: {free / 1e9:.0f} GB free"
    if not locked:
        detail += "; its file system has no locks, so lock files stand in for them"
    short = f"{detail}; a CUDA era needs {ROOM_FOR_AN_ERA / 1e9:.0f} GB"
    if free < ROOM_FOR_AN_ERA:
        return Diagnosis("store", Health.MISSING, short, "choose a larger disk with --store")
    return Diagnosis("store", Health.OK, detail)


def _containers(engine: str, fix: bool) -> Diagnosis:
    state = docker.state_folder()
    if fix:
        swept = docker.sweep(engine, state)
        return Diagnosis("containers", Health.OK, f"{len(swept)} containers of lost runs removed")
    run_ids = docker.orphans(engine, state)
    if run_ids:
        detail = f"{len(run_ids)} runs whose kit is gone have left containers: {', '.join(run_ids[:4])}"
        return Diagnosis("containers", Health.BROKEN, detail, "speedrun doctor --fix")
    return Diagnosis("containers", Health.OK, "no lost run has left one")


def _lost(out: Path, keys: Path, fix: bool) -> Diagnosis:
    if fix:
        others: list[RunFolder] = []
        try:
            closed = close_lost(out, keys, others.append)
        except KitError as e:
            return Diagnosis("lost-runs", Health.BROKEN, e.message, e.hint)
        detail = f"{len(closed)} records closed below {out}"
        if others:
            names = ", ".join(folder.run_id for folder in others[:4])
            detail += f"; {len(others)} runs belong to other machines, which alone can close them: {names}"
        return Diagnosis("lost-runs", Health.OK, detail)
    owners = [owner(folder) for folder in unfinished(out)]
    ended, running = owners.count(OwnerState.ENDED), owners.count(OwnerState.RUNNING)
    elsewhere = owners.count(OwnerState.ELSEWHERE)
    if ended:
        detail = f"{ended} runs below {out} were interrupted and have no result"
        return Diagnosis("lost-runs", Health.BROKEN, detail, f"speedrun doctor --fix --out {out}")
    more = f"; {running} running" if running else ""
    more += f"; {elsewhere} of other machines" if elsewhere else ""
    return Diagnosis("lost-runs", Health.OK, f"none below {out}{more}")

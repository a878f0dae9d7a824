"""
Check what works on this machine: start a guest in every runtime, look at GPUs, disk and interrupted runs.

The runtimes runc and host use this machine's files as their image, so that no image has to be built first;
Docker and Podman use the image `cpu`, if they have it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path

from kit.core.errors import KitError, PrerequisiteError, UsageError
from kit.core.extras import system_install
from kit.core.files import make_readable
from kit.core.home import no_home_directory
from kit.core.process import OwnerState
from kit.core.store import Store
from kit.core.text import counted, in_shell
from kit.core.version import Version, format_version
from kit.diagnose.storage import try_storage
from kit.evaluate import runtimes
from kit.evaluate.recovery import close_lost
from kit.gpu import toolkit
from kit.gpu.preflight import GpuRequirements, Sources, preflight
from kit.image.build import ensure_layout, survey
from kit.sandbox.engine import Engine, EngineName, SocketFinder
from kit.sandbox.folder import RunFolder, new_run_id, owner, unfinished
from kit.sandbox.isolation_probe import probe
from kit.sandbox.rlimits import require_limits
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
ENGINE_PATIENCE_S = 10.0
SEE_DOCTOR = "see: speedrun doctor"
ERA = "cpu"
"""The image that Docker and Podman start; the smallest one."""


class Health(StrEnum):
    """Result of one check."""

    OK = "ok"
    MISSING = "missing"
    """Not present; whatever needs it does not work."""
    BROKEN = "broken"
    """Present, but it does not work."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One check and its result."""

    id: str
    health: Health
    detail: str
    fix: str = ""
    optional: bool = False
    """Whether runs work without it; it is then no reason to call the machine unusable."""


@dataclass(frozen=True, slots=True)
class DoctorConfig:
    """Settings of `examine`."""

    store: Store | None
    """None for a user without a home directory, who named no other."""
    images: Path
    out: Path
    """Directory of runs."""
    keys: Path | None
    """None as for the store."""
    python: Path
    """The interpreter that the guest of runc uses."""
    engine: SocketFinder
    """Returns the URL of Docker's socket; what it raises is a result of the check."""
    gpus: Sources = field(default_factory=Sources)
    podman: SocketFinder | None = None
    """The same for Podman's socket; None leaves Podman out."""
    toolkit: Callable[[], Version | None] | None = None
    """Returns the installed version of NVIDIA Container Toolkit; None leaves that check out."""


def examine(config: DoctorConfig, fix: bool) -> Iterator[Diagnosis]:
    """Yield each check. With `fix`, remove leftovers of interrupted runs and close their records."""
    yield _diagnosis(RuntimeName.DOCKER, partial(_try_engine, config, config.engine, EngineName.DOCKER))
    if config.podman is not None:
        yield _diagnosis(EngineName.PODMAN, partial(_try_engine, config, config.podman, EngineName.PODMAN))
    for name in (RuntimeName.RUNC, RuntimeName.HOST):
        yield _diagnosis(name, partial(_try_runtime, runtimes.make(name, config.python), config.python))
    yield gpus(config.gpus)
    if config.toolkit is not None:
        yield container_toolkit(config.toolkit())
    yield _disk(config.store, fix)
    yield _containers([config.engine, *([config.podman] if config.podman else [])], fix)
    yield _interrupted(config.out, config.keys, fix)


def usable(diagnoses: list[Diagnosis]) -> bool:
    """Tell whether a container runtime works and nothing is broken that a run would use."""
    names = (RuntimeName.RUNC, RuntimeName.DOCKER, EngineName.PODMAN)
    contained = [d for d in diagnoses if d.id in [f"runtime-{name}" for name in names]]
    broken = any(d.health is Health.BROKEN and not d.optional for d in diagnoses)
    return any(d.health is Health.OK for d in contained) and not broken


def _diagnosis(name: RuntimeName | EngineName, attempt: Callable[[], str]) -> Diagnosis:
    title = f"runtime-{name}"
    try:
        return Diagnosis(title, Health.OK, attempt())
    except PrerequisiteError as e:
        return Diagnosis(title, Health.MISSING, e.message, _fix(name, e.hint))
    except UsageError as e:  # Docker's settings; without --runtime docker, a run does not use them
        return Diagnosis(title, Health.BROKEN, e.message, _fix(name, e.hint), optional=True)
    except KitError as e:
        return Diagnosis(title, Health.BROKEN, e.message, _fix(name, e.hint))
    except OSError as e:
        where = f"{e.filename}: " if e.filename else ""
        return Diagnosis(title, Health.BROKEN, f"{where}{e.strerror or e}", _fix(name, ""))


def _fix(name: RuntimeName | EngineName, hint: str) -> str:
    """Return the hint of an error, or another one where the hint is to run this command."""
    if hint not in ("", SEE_DOCTOR):
        return hint
    other = RuntimeName.DOCKER if name is RuntimeName.RUNC else RuntimeName.RUNC
    return f"pass --runtime {other} to: speedrun eval"


def _try_engine(config: DoctorConfig, socket: SocketFinder, target: EngineName) -> str:
    url = socket()
    with contextlib.closing(Engine(url, ENGINE_PATIENCE_S)) as engine:
        about = engine.about()
        identity = _built_image(config)
        if identity is None or engine.image_id(identity.config_digest, identity.manifest_digest) is None:
            raise PrerequisiteError(
                f"{about.name} {about.version} answers, but does not have the image {ERA}",
                f"speedrun image load {ERA}" + ("" if target is EngineName.DOCKER else f" --engine {target}"),
            )
    return f"{about.name}: {_try_runtime(Docker(url), config.python, identity)}"


def _built_image(config: DoctorConfig) -> ImageRef | None:
    """Return the image if the store has it, else None; do not fetch or build it."""
    if config.store is None:
        raise no_home_directory("--store")
    if not survey(ERA, config.images, config.store).built:
        return None
    layout = ensure_layout(ERA, config.images, config.store, ())
    return ImageRef(ERA, layout.config_digest, layout.manifest_digest)


def _try_runtime(runtime: Runtime, python: Path, image: ImageRef | None = None) -> str:
    if image is None:
        require_limits(GIB)
    with guest_directory(None, "speedrun-doctor-") as scratch:
        submission = make_readable(scratch / "submission", scratch)
        (submission / "hello.txt").write_text("hello\n")
        (submission / "hello.txt").chmod(0o444)
        spec = RunSpec(
            run_id=new_run_id(0),
            image=image,
            submission=submission,
            argv=("cat", "hello.txt"),
            env=(("PATH", "/usr/bin:/bin"),),
            limits=Limits(memory=GIB, pids=64, shm=MIB, workspace=MIB, tmp=MIB),
            deadlines=Deadlines(start_s=120, total_s=120),
        )
        inside = "python3" if image else str(interpreter(python).executable)
        with watchdog(runtime.reaper(spec.run_id)):
            if runtime.contains:
                probed = probe(runtime, spec, inside, scratch)
                if probed.failed:
                    listed = ", ".join(check.id for check in probed.failed)
                    raise KitError(f"isolation failed: {listed}")
            with run_guest(runtime, spec, scratch) as run:
                printed = run.output.log.read_bytes()
        if run.result.status is not RunStatus.COMPLETED or printed != b"hello\n":
            raise KitError(f"the test program failed: {run.result.reason}")
        if not runtime.contains:
            return "works; provides no isolation, so its runs are never ranked"
        lacking = probed.enforcement.not_enforced
        limits = f"; not enforced: {', '.join(lacking)}" if lacking else "; all limits are enforced"
        total = counted(len(probed.checks), "check")
        passed = f"isolation: {len(probed.checks) - len(probed.failed)} of {total} passed"
        return f"version {probed.enforcement.version} works; {passed}{limits}"


def gpus(sources: Sources) -> Diagnosis:
    """List the GPUs, and what would prevent a full run on them or a rank for it."""
    try:
        inventory = sources.nvml.read()
    except KitError as e:
        return Diagnosis("gpus", Health.MISSING, e.message, e.hint)
    count = len(inventory.gpus)
    hidden = f"; CUDA_VISIBLE_DEVICES hides {inventory.hidden} more" if inventory.hidden else ""
    if not count:
        none = f"no NVIDIA GPU; only --profile smoke works here{hidden}"
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


def container_toolkit(installed: Version | None) -> Diagnosis:
    """Tell whether NVIDIA Container Toolkit has known container escapes; guests do not use it."""
    if installed is None:
        return Diagnosis("container-toolkit", Health.OK, "not installed; guests do not use it")
    shown = f"NVIDIA Container Toolkit {format_version(installed)}"
    escapes = toolkit.open_escapes(installed)
    if not escapes:
        return Diagnosis("container-toolkit", Health.OK, f"{shown} has no known container escape")
    names = ", ".join(escape.cve for escape in escapes)
    safe = format_version(toolkit.safe_version())
    return Diagnosis(
        "container-toolkit",
        Health.BROKEN,
        f"{shown} has known container escapes ({names}); guests do not use it, other containers can",
        f"update it to {safe} or newer: {system_install(toolkit.PACKAGE, upgrade=True)}",
    )


def _disk(store: Store | None, fix: bool) -> Diagnosis:
    if store is None:
        e = no_home_directory("--store")
        return Diagnosis("store", Health.BROKEN, e.message, e.hint)
    if store.root.is_dir() and not os.access(store.root, os.W_OK):
        detail = f"{store.root} is read-only: runs can use what it has, but add nothing"
        return Diagnosis("store", Health.MISSING, detail, "to add images or data, pass --store DIR")
    try:
        if fix:
            store.tidy()
        free = shutil.disk_usage(store.room("blobs")).free
        findings = tuple(try_storage(store.room("locks")))
    except KitError as e:
        return Diagnosis("store", Health.BROKEN, e.message, e.hint)
    except OSError as e:
        return Diagnosis(
            "store",
            Health.BROKEN,
            f"cannot write {store.root}: {e.strerror}",
            "pass another directory with --store",
        )
    detail = "; ".join((f"{store.root}: {free / 1e9:.0f} GB free", *(found.text for found in findings)))
    action = next((found.fix for found in findings if found.fix), "")
    if action:
        return Diagnosis("store", Health.BROKEN, detail, action)
    short = f"{detail}; a CUDA image needs {ROOM_FOR_AN_ERA / 1e9:.0f} GB"
    if free < ROOM_FOR_AN_ERA:
        return Diagnosis("store", Health.MISSING, short, "pass a directory on a larger disk with --store")
    return Diagnosis("store", Health.OK, detail)


def _containers(sockets: Sequence[SocketFinder], fix: bool) -> Diagnosis:
    state = docker.state_folder()
    urls = []
    for socket in sockets:
        with contextlib.suppress(KitError):
            urls.append(socket())
    urls = urls or [""]  # without an engine, the leases of this user are checked
    act = docker.sweep if fix else docker.orphans
    run_ids = sorted({run_id for url in urls for run_id in act(url, state)})
    if fix:
        detail = f"removed {counted(len(run_ids), 'container')} of interrupted runs"
        return Diagnosis("containers", Health.OK, detail)
    if run_ids:
        detail = f"{counted(len(run_ids), 'interrupted run')} left containers; runs: {', '.join(run_ids[:4])}"
        return Diagnosis("containers", Health.BROKEN, detail, "speedrun doctor --fix")
    return Diagnosis("containers", Health.OK, "no containers of interrupted runs")


def _interrupted(out: Path, keys: Path | None, fix: bool) -> Diagnosis:
    if fix:
        others: list[RunFolder] = []
        try:
            if keys is None:
                raise no_home_directory("--keys")
            closed = close_lost(out, keys, others.append)
        except KitError as e:
            return Diagnosis("lost-runs", Health.BROKEN, e.message, e.hint)
        detail = f"closed {counted(len(closed), 'record')} in {out}"
        if others:
            names = ", ".join(folder.run_id for folder in others[:4])
            detail += f"; {counted(len(others), 'run')} to be closed on the machine of the run: {names}"
        return Diagnosis("lost-runs", Health.OK, detail)
    owners = [owner(folder) for folder in unfinished(out)]
    ended, running = owners.count(OwnerState.ENDED), owners.count(OwnerState.RUNNING)
    elsewhere = owners.count(OwnerState.ELSEWHERE)
    if ended:
        detail = f"{counted(ended, 'interrupted run')} in {out} without a result"
        return Diagnosis("lost-runs", Health.BROKEN, detail, f"speedrun doctor --fix --out {in_shell(out)}")
    more = f"; {running} running" if running else ""
    more += f"; {elsewhere} on other machines" if elsewhere else ""
    return Diagnosis("lost-runs", Health.OK, f"none in {out}{more}")

"""
What works on this machine, found out by doing it: every runtime starts a real guest. Mends only when asked.

A runtime is asked with this machine's own files as its image, so that no image has to be built first.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kit.errors import KitError, PrerequisiteError
from kit.evaluate import engines
from kit.evaluate.lost import close_lost
from kit.run import machine
from kit.run.folder import new_run_id, unfinished
from kit.run.log import Grammar
from kit.run.probe import probe
from kit.run.result import RunStatus
from kit.run.runtime.hostimage import interpreter
from kit.run.runtime.port import Runtime
from kit.run.spec import GIB, MIB, Deadlines, Limits, RunSpec, RuntimeName
from kit.run.supervise import Watch, supervise
from kit.run.watcher import watched
from kit.store import Store

ROOM_FOR_AN_ERA = 15 * GIB


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


def examine(store: Store, out: Path, keys: Path, python: Path, fix: bool) -> Iterator[Diagnosis]:
    """Look at everything in turn; with `fix`, close the records of lost runs and end their guests."""
    for name in (RuntimeName.RUNC, RuntimeName.HOST):
        yield _runtime(name, python)
    yield _gpus()
    yield _disk(store)
    yield _lost(out, keys, fix)


def usable(found: list[Diagnosis]) -> bool:
    """Tell whether a contained run can be made here."""
    contained = [d for d in found if d.id in (f"runtime-{RuntimeName.RUNC}", f"runtime-{RuntimeName.DOCKER}")]
    rest = [d for d in found if d.health is Health.BROKEN]
    return any(d.health is Health.OK for d in contained) and not rest


def _runtime(name: RuntimeName, python: Path) -> Diagnosis:
    title = f"runtime-{name}"
    try:
        return Diagnosis(title, Health.OK, _try(engines.make(name, python), python))
    except PrerequisiteError as e:
        return Diagnosis(title, Health.MISSING, e.message, e.hint)
    except KitError as e:
        return Diagnosis(title, Health.BROKEN, e.message, e.hint)


def _try(runtime: Runtime, python: Path) -> str:
    with tempfile.TemporaryDirectory(prefix="speedrun-doctor-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        submission = scratch / "submission"
        submission.mkdir(mode=0o755)
        (submission / "hello.txt").write_text("hello\n")
        spec = RunSpec(
            run_id=new_run_id(0),
            image=None,
            submission=submission,
            argv=("cat", "hello.txt"),
            env=(("PATH", "/usr/bin:/bin"),),
            limits=Limits(memory=GIB, pids=64, shm=MIB, workspace=MIB, tmp=MIB),
            deadlines=Deadlines(start_s=30, total_s=30),
        )
        with watched(runtime.reaper(spec.run_id)):
            if runtime.contains:
                found = probe(runtime, spec, str(interpreter(python).executable), scratch)
                if found.failed:
                    listed = ", ".join(check.id for check in found.failed)
                    raise KitError(f"it starts guests but does not contain them: {listed}")
            log = scratch / "log"
            result = supervise(
                spec, lambda: runtime.start(spec, scratch), log, scratch / "stamps", Grammar.STEP, Watch()
            )
        if result.status is not RunStatus.COMPLETED or log.read_bytes() != b"hello\n":
            raise KitError(f"a guest was started but did not do its work: {result.reason}")
        if not runtime.contains:
            return "starts a process and ends it; contains nothing, never ranked"
        lacking = found.enforcement.not_enforced
        limits = f"; not enforced here: {', '.join(lacking)}" if lacking else "; every limit is enforced"
        shut = f"{len(found.checks)} ways out are shut"
        return f"version {found.enforcement.version} starts a guest, {shut}{limits}"


def _gpus() -> Diagnosis:
    here = machine.look()
    if not here.gpus:
        return Diagnosis("gpus", Health.MISSING, "no NVIDIA GPU; only the smoke profile runs here")
    return Diagnosis("gpus", Health.OK, f"{len(here.gpus)} x {here.gpus[0]}, driver {here.driver}")


def _disk(store: Store) -> Diagnosis:
    try:
        free = shutil.disk_usage(store.room("blobs")).free
    except KitError as e:
        return Diagnosis("store", Health.BROKEN, e.message, e.hint)
    detail = f"{store.root}: {free / 1e9:.0f} GB free"
    short = f"{detail}; a CUDA era needs {ROOM_FOR_AN_ERA / 1e9:.0f} GB"
    if free < ROOM_FOR_AN_ERA:
        return Diagnosis("store", Health.MISSING, short, "choose a larger disk with --store")
    return Diagnosis("store", Health.OK, detail)


def _lost(out: Path, keys: Path, fix: bool) -> Diagnosis:
    if fix:
        closed = close_lost(out, keys)
        return Diagnosis("lost-runs", Health.OK, f"{len(closed)} records closed below {out}")
    open_runs = unfinished(out)
    if open_runs:
        detail = f"{len(open_runs)} runs below {out} have no result; they may be running"
        return Diagnosis("lost-runs", Health.BROKEN, detail, "speedrun doctor --fix")
    return Diagnosis("lost-runs", Health.OK, f"none below {out}")

"""
Plan: a request worked out against the facts and this machine, before anything is fetched or started.

Raises what is wrong while it costs nothing: an unknown record, a bad submission, a number of GPUs that would
change the task. Whether the machine has the GPUs, `kit.evaluate.gpus` finds out.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import assert_never

from kit.benchmark import records
from kit.benchmark.records import Record
from kit.benchmark.submission import ENTRY, Submission, load_submission
from kit.core.errors import PrerequisiteError, UsageError
from kit.core.facts import guest_file
from kit.data.synth import SmokeSpec, load_smoke
from kit.evaluate import runtimes as engines
from kit.evaluate.request import HOST_IMAGE, Places, Request
from kit.evaluate.worldsize import world_size_blockers
from kit.gpu import machine
from kit.sandbox.runtime.hostimage import interpreter
from kit.sandbox.runtime.port import Runtime
from kit.values.deadlines import Deadlines
from kit.values.hardware import RECORD_GPUS
from kit.values.log import Grammar
from kit.values.profile import Profile
from kit.values.run_spec import GIB, WORKSPACE, Limits, RuntimeName

REFERENCE = guest_file("train_reference.py")
SITE = REFERENCE.parent / "site"
"""What makes Python write whole lines: a part of every image, mounted where there is none."""
HOST_SITE = PurePosixPath("/input/site")
DATA = WORKSPACE / "data" / "fineweb10B"
SMOKE_ERA = "cpu"
PORT = 29500
CACHES = {
    "HOME": str(WORKSPACE),
    "LANG": "C.UTF-8",
    "PYTHONPYCACHEPREFIX": "/tmp/pycache",  # noqa: S108
    "TMPDIR": "/tmp",  # noqa: S108 - the guest's own tmpfs
    "TORCHINDUCTOR_CACHE_DIR": "/tmp/inductor",  # noqa: S108
    "TRITON_CACHE_DIR": "/tmp/triton",  # noqa: S108
    "USER": "guest",
    "XDG_CACHE_HOME": "/tmp/cache",  # noqa: S108
}
"""Every cache is cold and dies with the guest."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything that is decided before the run; losses are nats per token."""

    profile: Profile
    record: Record
    submission: Submission | None
    """None means the reference trainer (smoke) or the record's own script (full), not fetched yet."""
    runtime: Runtime
    era: str
    """An era, or `host`."""
    python: str
    """The interpreter as the guest sees it."""
    script_args: tuple[str, ...]
    entry: str
    env: tuple[tuple[str, str], ...]
    folders: tuple[str, ...]
    limits: Limits
    deadlines: Deadlines
    untimed_steps: int
    world_size: int
    gpus: int
    grammar: Grammar
    val_tokens: int
    target_val_loss: float
    target_source: str
    smoke: SmokeSpec | None
    """The smoke language; None in the full profile."""
    ranking_blockers: tuple[str, ...] = ()
    """Why a result of this plan cannot be ranked, beside what the result itself shows."""

    def launcher(self) -> tuple[str, ...]:
        """
        Return the guest's argv: torchrun on one node, rendezvous on loopback.

        `--standalone` is not used: without a network it hangs on the host name.
        """
        torchrun = ("torchrun",) if self.era != HOST_IMAGE else (self.python, "-m", "torch.distributed.run")
        port = PORT if self.runtime.contains else _free_port()
        return (
            *torchrun,
            "--nnodes=1",
            f"--nproc_per_node={self.world_size}",
            "--master_addr=127.0.0.1",
            f"--master_port={port}",
            self.entry,
            *self.script_args,
        )


def draft(request: Request, places: Places) -> RunPlan:
    """Work the request out. Fetches, builds and starts nothing."""
    record = records.load(places.records, request.record)
    submission = load_submission(request.submission) if request.submission else None
    match request.profile:
        case Profile.SMOKE:
            return _smoke(request, places, record, submission)
        case Profile.FULL:
            return _full(request, record, submission)
        case _:
            assert_never(request.profile)


def _image(request: Request, default: str, runtime: Runtime) -> str:
    if runtime.name is RuntimeName.HOST:
        if request.image not in (None, HOST_IMAGE):
            raise UsageError(
                f"the host runtime cannot run image {request.image!r}",
                "use --image host, or another --runtime",
            )
        return HOST_IMAGE
    return request.image or default


def _python(request: Request, era: str) -> str:
    if era != HOST_IMAGE:
        return "python3"
    if request.python is None:
        raise PrerequisiteError(
            "--image host needs a Python interpreter that has torch", "pass it as --python PATH"
        )
    return str(interpreter(request.python).executable)


def _smoke(request: Request, places: Places, record: Record, submission: Submission | None) -> RunPlan:
    if request.gpus:
        raise UsageError("the smoke profile runs on CPUs", "leave --gpus out, or use --profile full")
    smoke = load_smoke(places.records)
    runtime = engines.choose(request)
    era = _image(request, SMOKE_ERA, runtime)
    return RunPlan(
        profile=Profile.SMOKE,
        record=record,
        submission=submission,
        runtime=runtime,
        era=era,
        python=_python(request, era),
        script_args=submission.args if submission else smoke.guest.args,
        entry=submission.entry if submission else ENTRY,
        env=_environment(dict(smoke.guest.env), smoke.val_tokens),
        folders=("data", *record.script.folders),
        limits=Limits(memory=smoke.guest.memory, pids=512, shm=GIB, workspace=GIB, tmp=GIB),
        deadlines=request.overrides.applied(smoke.deadlines),
        untimed_steps=smoke.guest.untimed_steps,
        world_size=smoke.guest.world_size,
        gpus=0,
        grammar=Grammar.STEP,
        val_tokens=smoke.val_tokens,
        target_val_loss=smoke.target,
        target_source=f"smoke language: floor {smoke.floor} and a margin",
        smoke=smoke,
    )


def _full(request: Request, record: Record, submission: Submission | None) -> RunPlan:
    gpus = RECORD_GPUS if request.gpus is None else request.gpus
    against = world_size_blockers(record, gpus, request.accept_world_size, submission is None)
    runtime = engines.choose(request)
    era = _image(request, record.era, runtime)
    return RunPlan(
        profile=Profile.FULL,
        record=record,
        submission=submission,
        runtime=runtime,
        era=era,
        python=_python(request, era),
        script_args=submission.args if submission else record.script.args,
        entry=submission.entry if submission else record.script.entry,
        env=_environment({}, record.val_tokens),
        folders=("data", *record.script.folders),
        limits=full_limits(),
        deadlines=request.overrides.applied(record.deadlines),
        untimed_steps=record.untimed_steps,
        world_size=gpus,
        gpus=gpus,
        grammar=Grammar(record.grammar),
        val_tokens=record.val_tokens,
        target_val_loss=record.target_val_loss,
        target_source="the speedrun's rule",
        smoke=None,
        ranking_blockers=against,
    )


def full_limits() -> Limits:
    """Return the limits of a full run: of the memory all but a tenth, which the machine itself needs."""
    return Limits(memory=machine.read_machine().memory * 9 // 10)


def _environment(extra: dict[str, str], val_tokens: int) -> tuple[tuple[str, str], ...]:
    inside = DATA.relative_to(WORKSPACE)
    conventions = {
        "DATA_PATH": ".",
        "NANOGPT_TRAIN_FILES": str(inside / "fineweb_train_*.bin"),
        "NANOGPT_VAL_FILES": str(inside / "fineweb_val_*.bin"),
        "NANOGPT_VAL_TOKENS": str(val_tokens),
    }
    return tuple(sorted({**CACHES, **conventions, **extra}.items()))


def search_path(era: str, python: str) -> str:
    """Return the guest's PATH; a host interpreter's folder comes first."""
    system = "/usr/local/bin:/usr/bin:/bin"
    return system if era != HOST_IMAGE else f"{PurePosixPath(python).parent}{os.pathsep}{system}"


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port

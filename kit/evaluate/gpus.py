"""Compare the GPUs that a plan needs with those of this machine."""

from __future__ import annotations

import os

from kit.core.errors import KitError
from kit.core.text import counted
from kit.core.version import Version, parse
from kit.evaluate.plan import RunPlan
from kit.evaluate.request import HOST_IMAGE, Places
from kit.evaluate.worldsize import POSSIBLE
from kit.gpu.preflight import IN_USE, NO_GPUS, GpuRequirements, Preflight, preflight
from kit.image.lock import Lock, read_lock
from kit.image.spec import read_spec
from kit.sandbox.turn import is_taken
from kit.values.run_spec import RuntimeName

RUNTIME_LIBRARIES = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12")
"""The wheel whose version is the CUDA that torch was built with."""


def look(plan: RunPlan, places: Places, if_fewer: str | None = None) -> Preflight:
    """Check the machine's GPUs as they are now. Raises nothing: see `Preflight.require`."""
    if not plan.terms.gpus:
        return NO_GPUS
    return preflight(gpu_requirements(plan, places, if_fewer), places.gpus)


def look_before_turn(plan: RunPlan, places: Places, if_fewer: str | None = None) -> Preflight:
    """
    Check the machine's GPUs for a run that will wait for its turn.

    GPUs in use are no reason to refuse it while another run of this user has their turn. `if_fewer` is as for
    `gpu_requirements`. Raises `PrerequisiteError` for every other refusal.
    """
    found = look(plan, places, if_fewer)
    for _ in range(2):  # again: that run may have ended just after the GPUs were read
        passing = all(f.id in IN_USE for f in found.refusals)
        uuids = [gpu.uuid for gpu in found.gpus]
        if found.refusals and passing and places.turns is not None and is_taken(places.turns, uuids):
            return found
        if not found.refusals:
            return found
        found = look(plan, places, if_fewer)
    found.require()
    return found


def gpu_requirements(plan: RunPlan, places: Places, if_fewer: str | None = None) -> GpuRequirements:
    """
    Return what the plan needs; the lock of its image says which CUDA that is, if there is one.

    `if_fewer` is the hint for a machine with fewer GPUs; without it, evaluations that need fewer are named.
    """
    return GpuRequirements(
        gpus=plan.terms.gpus,
        if_fewer=if_fewer or _another_evaluation(plan),
        fewer=() if if_fewer else _numbers_that_keep_the_record(plan),
        cuda=_cuda(plan, places),
        engine=plan.runtime.name is RuntimeName.DOCKER,
        own_user=plan.runtime.name is not RuntimeName.DOCKER and os.geteuid() != 0,
    )


def _another_evaluation(plan: RunPlan) -> str:
    gpus = counted(plan.terms.gpus, "GPU")
    smoke = f"speedrun eval --record {plan.record.name} --profile smoke"
    return f"use a machine with {gpus}; to try the kit here, with its own small script: {smoke}"


def _numbers_that_keep_the_record(plan: RunPlan) -> tuple[int, ...]:
    return tuple(n for n in POSSIBLE if n < plan.terms.gpus and plan.record.world_size.keeps_the_record(n))


def _cuda(plan: RunPlan, places: Places) -> Version | None:
    if plan.era == HOST_IMAGE:
        return None
    try:
        return cuda_of(read_lock(read_spec(places.images, plan.era)))
    except KitError:  # bringing the image says what is wrong with it
        return None


def cuda_of(lock: Lock) -> Version | None:
    """Return (major, minor) of the CUDA that an image holds; None if it holds none."""
    cuda = next((w.version for w in lock.wheels if w.project in RUNTIME_LIBRARIES), None)
    version = parse(cuda) if cuda else None
    return version[:2] if version else None

"""Proof that a guest's GPU memory is back after its end, by asking the driver. Kills nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from kit.core.errors import KitError
from kit.gpu.nvml import DriverGpu, Nvml
from kit.values.run_result import RunResult
from kit.values.run_spec import MIB

WITHIN_S = 20.0
"""The driver frees the memory of a killed process a little after the process is gone."""
PAUSE_S = 0.1
SLACK = 128 * MIB
"""Bytes on one GPU that may come and go with the driver; one context of CUDA takes several times that."""


@dataclass(frozen=True, slots=True)
class GpuRelease:
    """What was found after a guest's end."""

    seconds: float
    remains: tuple[str, ...]
    """What the GPUs still hold, for a person; empty is the promise."""


def await_release(
    before: tuple[DriverGpu, ...],
    nvml: Nvml,
    within_s: float = WITHIN_S,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> GpuRelease:
    """
    Wait until the GPUs hold no more than `before` the guest's start, for at most `within_s` seconds.

    A driver that does not answer has not shown that the memory is back: that is named as remaining.
    """
    began = clock()
    while True:
        remains = _remains(before, nvml)
        waited = clock() - began
        if not remains or waited >= within_s:
            return GpuRelease(waited, remains)
        pause(PAUSE_S)


def _remains(before: tuple[DriverGpu, ...], nvml: Nvml) -> tuple[str, ...]:
    try:
        now = {gpu.uuid: gpu for gpu in nvml.read().gpus}
    except KitError as e:
        return (f"perhaps GPU memory: {e.message}",)
    remains: list[str] = []
    for was in before:
        gpu = now.get(was.uuid)
        if gpu is None:
            remains.append(f"GPU {was.index} does not answer any more")
            continue
        remains += [
            f"process {p.pid} on GPU {was.index}"
            for p in gpu.processes
            if p.pid not in {q.pid for q in was.processes}
        ]
        if gpu.used > was.used + SLACK:
            remains.append(f"{(gpu.used - was.used) // MIB} MiB on GPU {was.index}")
    return tuple(remains)


def add_release(result: RunResult, release: GpuRelease) -> RunResult:
    """Add what the GPUs still hold to the result's remains, and the wait to its time to nothing."""
    gone = result.teardown
    return replace(
        result,
        teardown=replace(
            gone, kill_s=gone.kill_s + release.seconds, remains=(*gone.remains, *release.remains)
        ),
    )

"""Check with the driver that a guest's GPU memory is free after the guest has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from kit.core.errors import KitError
from kit.gpu.nvml import DriverGpu, Nvml
from kit.values.run_result import RunResult
from kit.values.run_spec import MIB

WITHIN_S = 20.0
"""Seconds. The driver frees the memory of a killed process shortly after the process is gone."""
PAUSE_S = 0.1
SLACK = 128 * MIB
"""Bytes per GPU by which the driver's usage can vary; one CUDA context takes several times as much."""


@dataclass(frozen=True, slots=True)
class GpuRelease:
    """The state of GPU memory after a guest has ended."""

    seconds: float
    remains: tuple[str, ...]
    """Descriptions of what the GPUs still hold; empty if everything is free."""


def await_release(
    before: tuple[DriverGpu, ...],
    nvml: Nvml,
    within_s: float = WITHIN_S,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> GpuRelease:
    """
    Wait until the GPUs use no more memory than `before` the guest's start, for at most `within_s` seconds.

    If the driver does not answer, `remains` says that the state of the memory is unknown.
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
        return (f"GPU memory in an unknown state: {e.message}",)
    remains: list[str] = []
    for was in before:
        gpu = now.get(was.uuid)
        if gpu is None:
            remains.append(f"GPU {was.index}, which no longer answers")
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
    """Return `result` with the GPUs' remains and the time of the wait added to its teardown."""
    gone = result.teardown
    return replace(
        result,
        teardown=replace(
            gone, kill_s=gone.kill_s + release.seconds, remains=(*gone.remains, *release.remains)
        ),
    )

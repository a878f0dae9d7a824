"""
Run a prepared plan's guest up to a bound of steps. Gives no result: no probe, no audit, no bundle.

The guest gets the mounts, limits and isolation of a run. A watchdog ends it if this process dies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from kit.evaluate.prepare import Prepared
from kit.evaluate.request import Places
from kit.evaluate.val_mount import ENGINE_PREFIX
from kit.gpu.release import await_release
from kit.sandbox.run_guest import run_guest
from kit.sandbox.runtime.lease import at_work
from kit.sandbox.supervise import GRACE_S, RunCallbacks
from kit.values.output import StoredOutput
from kit.values.run_result import Point, RunResult, RunStatus
from kit.values.run_spec import RunSpec


@dataclass(frozen=True, slots=True)
class StepBound:
    """When a guest has printed enough. None: no such bound."""

    steps: int | None
    """The first line of this step or a later one."""
    validations: int | None = None
    """This many validation lines, for scripts that print no training lines."""
    grace_s: float = GRACE_S
    """
    Seconds that the guest has to exit once it has printed enough.

    It is killed before that at the total deadline, or if the operator cancels.
    """


@dataclass(frozen=True, slots=True)
class BoundedRun:
    """How a guest ended. It is no result: nothing is signed, and nothing was audited."""

    result: RunResult
    is_enough: bool
    """Whether the guest was ended because it had printed enough."""
    first: Point | None
    """The first line that counts."""
    last: Point | None
    """The newest line that counts."""
    val_loss: float | None
    """Nats per token, of the newest validation line."""

    @property
    def first_line_s(self) -> float | None:
        """Seconds from the start to the first line that counts, by the host's clock."""
        return None if self.first is None or self.first.host_ns is None else self.first.host_ns / 1e9

    @property
    def step_ms(self) -> float | None:
        """Milliseconds a step between the first and the last line, by the host's clock."""
        first, last = self.first, self.last
        if first is None or last is None or last.step <= first.step:
            return None
        if first.host_ns is None or last.host_ns is None:
            return None
        return (last.host_ns - first.host_ns) / 1e6 / (last.step - first.step)


class _BoundedLines:
    """The lines of a guest that count towards its bound."""

    def __init__(self, bound: StepBound) -> None:
        self._bound = bound
        self.first: Point | None = None
        self.last: Point | None = None
        self.val_loss: float | None = None
        self._validations = 0

    def take(self, point: Point) -> None:
        """Count one line."""
        self.first = self.first or point
        self.last = point
        if point.val_loss is not None:
            self.val_loss = point.val_loss
            self._validations += 1

    def is_enough(self) -> bool:
        """Tell whether the guest has printed enough."""
        steps, validations = self._bound.steps, self._bound.validations
        far = steps is not None and self.last is not None and self.last.step >= steps
        return far or (validations is not None and self._validations >= validations)

    def within(self, callbacks: RunCallbacks) -> RunCallbacks:
        """Return callbacks that count every line, and end the guest once it has printed enough."""

        def take(point: Point) -> None:
            self.take(point)
            callbacks.point(point)

        return replace(
            callbacks,
            point=take,
            cancelled=lambda: self.is_enough() or callbacks.cancelled(),
            grace_s=lambda: callbacks.grace_s() if callbacks.cancelled() else self._bound.grace_s,
        )


def run_bounded(
    ready: Prepared,
    spec: RunSpec,
    scratch: Path,
    output: StoredOutput,
    bound: StepBound,
    callbacks: RunCallbacks,
    places: Places | None = None,
) -> BoundedRun:
    """
    Run the guest of `spec`, and end it once it has printed enough.

    `scratch` is a directory that the guest's uid can enter. With `places`, wait until the memory of its GPUs
    is free. Raises what the runtime's start raises, and `RunError` if the watchdog does not start or the disk
    is full.
    """
    lines = _BoundedLines(bound)
    plan = ready.plan
    with (
        at_work(spec.run_id),
        run_guest(
            plan.runtime,
            spec,
            scratch,
            output,
            plan.terms.grammar,
            lines.within(callbacks),
            prefix=ENGINE_PREFIX,
            watched=True,
        ) as run,
    ):
        if places is not None and ready.preflight.gpus:
            await_release(ready.preflight.gpus, places.gpus.nvml)
        result = run.result
    return BoundedRun(
        result=result,
        is_enough=lines.is_enough() and result.status is RunStatus.CANCELLED,
        first=lines.first,
        last=lines.last,
        val_loss=lines.val_loss,
    )

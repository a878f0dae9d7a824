"""Track the phase of a run and its next deadline, by pure arithmetic on the host's clock."""

from __future__ import annotations

from dataclasses import dataclass

from kit.values.deadlines import Deadlines
from kit.values.run_result import PhaseTime, Point
from kit.values.run_spec import Phase

STALL = "stall"
TOTAL = "total"


@dataclass(frozen=True, slots=True)
class NextDeadline:
    """The next deadline."""

    at_s: float
    """Seconds since the guest's start."""
    clock: str
    """The phase's name, `stall` or `total`."""


class PhaseClock:
    """Tracks phases from lines and points as they arrive; seconds count from the guest's start."""

    def __init__(self, deadlines: Deadlines, untimed_steps: int) -> None:
        self._deadlines = deadlines
        self._untimed = untimed_steps
        self.phase = Phase.START
        self._began = {Phase.START: 0.0}
        self._progress_s = 0.0
        self._highest = -1

    def line(self, now_s: float) -> None:
        """Record that stdout produced a line."""
        if self.phase is Phase.START:
            self._enter(Phase.WARMUP, now_s)

    def point(self, now_s: float, point: Point) -> None:
        """Record a claim. Only a step higher than every earlier one counts as progress."""
        if point.step > self._highest:
            self._highest = point.step
            self._progress_s = now_s
        if self.phase is Phase.WARMUP and point.step > self._untimed:
            self._enter(Phase.TRAINING, now_s)
        last = point.val_loss is not None and 0 < point.total_steps <= point.step
        if last and self.phase in (Phase.WARMUP, Phase.TRAINING):
            self._enter(Phase.TEARDOWN, now_s)

    def _enter(self, phase: Phase, now_s: float) -> None:
        self.phase = phase
        self._began[phase] = now_s
        self._progress_s = now_s

    @property
    def total_s(self) -> float:
        """When the whole run must have ended."""
        return self._deadlines.total_s

    def due(self) -> NextDeadline:
        """Return the earliest deadline of the current phase."""
        candidates = [NextDeadline(self._deadlines.total_s, TOTAL)]
        limit = self._limit(self.phase)
        if limit is not None:
            candidates.append(NextDeadline(self._began[self.phase] + limit, self.phase.value))
        if self.phase is Phase.TRAINING:
            candidates.append(NextDeadline(self._progress_s + self._deadlines.stall_s, STALL))
        return min(candidates, key=lambda due: due.at_s)

    def _limit(self, phase: Phase) -> float | None:
        match phase:
            case Phase.START:
                return self._deadlines.start_s
            case Phase.WARMUP:
                return self._deadlines.warmup_s
            case Phase.TRAINING:
                return None
            case Phase.TEARDOWN:
                return self._deadlines.teardown_s

    def times(self, end_s: float) -> tuple[PhaseTime, ...]:
        """Return the duration of each phase that the run reached; the limit of training is the total."""
        # the kit may read the guest's last output after the guest has exited
        began = {phase: min(self._began[phase], end_s) for phase in Phase if phase in self._began}
        ends = [*list(began.values())[1:], end_s]
        return tuple(
            PhaseTime(phase, end - began[phase], self._limit(phase) or self._deadlines.total_s)
            for phase, end in zip(began, ends, strict=True)
        )

    def training_began_s(self) -> float | None:
        """Return when training began, or None if it did not."""
        return self._began.get(Phase.TRAINING)

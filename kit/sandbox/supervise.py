"""
Supervise one guest by its RunSpec: deadlines, output limits, kills, and the check that nothing is left.

The host's monotonic clock decides. At a deadline the guest gets SIGKILL immediately; it gets SIGTERM first
only if the operator cancels. The guest's output is stored and parsed into claims. It can change the phase,
but never the total deadline.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kit.core.digest import sha256_file
from kit.sandbox.phases import STALL, PhaseClock
from kit.sandbox.runtime.port import Guest
from kit.sandbox.stamp import LogWriter
from kit.values.log import MAX_CLAIMS, ClaimReader, Grammar
from kit.values.run_result import OutputStream, Point, RunResult, RunStatus, Teardown
from kit.values.run_spec import Limits, Phase, RunSpec

TICK_S = 0.05
GRACE_S = 1.0
GONE_WITHIN_S = 10.0
"""Seconds for which the kit repeats the kill before it reports what remains."""
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class RunCallbacks:
    """Functions that receive a run's progress or cancel it."""

    phase: Callable[[Phase, float], None] = lambda phase, now_s: None
    """Called when a phase begins, with host seconds since the start."""
    point: Callable[[Point], None] = lambda point: None
    cancelled: Callable[[], bool] = lambda: False
    """Polled; once it returns True, the guest gets SIGTERM, then SIGKILL."""
    grace_s: Callable[[], float] = lambda: GRACE_S
    """Polled from then on; returns the seconds between the two signals."""
    tick: Callable[[], None] = lambda: None
    """Called many times a second while the guest runs, even if it prints nothing."""


@dataclass(frozen=True, slots=True)
class _End:
    """Why the kit stopped reading the guest's output."""

    status: RunStatus | None
    """None if the guest exited by itself."""
    reason: str = ""
    clock: str | None = None


@dataclass(slots=True)
class _Session:
    """The state of one supervised guest: its pipes, log and clocks."""

    guest: Guest
    limits: Limits
    writer: LogWriter
    clock: PhaseClock
    claims: ClaimReader
    callbacks: RunCallbacks
    started_ns: int
    open_pipes: selectors.BaseSelector
    points: list[Point] = field(default_factory=list)
    claimed: int = 0
    """Number of claims that the guest printed; above `MAX_CLAIMS` it is killed."""

    def now_s(self) -> float:
        return (time.monotonic_ns() - self.started_ns) / 1e9

    def listen(self, timeout_s: float) -> bool:
        """Store output that arrives within the timeout; return True if any did."""
        heard = False
        for key, _ in self.open_pipes.select(max(timeout_s, 0.0)):
            data = os.read(key.fd, CHUNK)
            if not data:
                self.open_pipes.unregister(key.fileobj)
                continue
            heard = True
            self._take(key.data, data)
        if heard:
            self.writer.flush()
        return heard

    def _take(self, stream: OutputStream, data: bytes) -> None:
        t_ns = time.monotonic_ns() - self.started_ns
        for line in self.writer.feed(stream, data, t_ns):
            before = self.clock.phase
            self.clock.line(t_ns / 1e9)
            point = self.claims.feed(line, stream, whole=True, host_ns=t_ns)
            if point is not None:
                self.claimed += 1
                if point.val_loss is not None:
                    self.points.append(point)
                self.clock.point(t_ns / 1e9, point)
            if self.clock.phase is not before:
                self.callbacks.phase(self.clock.phase, t_ns / 1e9)
            if point is not None:
                self.callbacks.point(point)
        if self.claimed > MAX_CLAIMS:
            self.writer.stop()

    def output_reason(self) -> str:
        """Return which output limit the guest exceeded."""
        if self.claimed > MAX_CLAIMS:
            return f"the guest printed more than {MAX_CLAIMS} claims"
        if self.writer.out_of_pieces:
            return f"the guest printed more than {self.writer.max_pieces} lines"
        return f"the guest printed more than {self.limits.output} bytes"


def supervise(
    spec: RunSpec,
    start: Callable[[], Guest],
    log: Path,
    stamps: Path,
    grammar: Grammar,
    callbacks: RunCallbacks,
) -> RunResult:
    """
    Start a guest, enforce its deadlines and limits, kill what is left of it, and return the observations.

    `start` starts the guest; `log` and `stamps` are written while it runs. When this returns, nothing of the
    guest is left, or `RunResult.teardown.remains` lists what is. Raises what `start` raises.
    """
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    started_ns = time.monotonic_ns()
    with (
        LogWriter(log, stamps, spec.limits) as writer,
        contextlib.closing(start()) as guest,
        selectors.DefaultSelector() as pipes,
    ):
        clock = PhaseClock(spec.deadlines, spec.untimed_steps)
        session = _Session(
            guest, spec.limits, writer, clock, ClaimReader(grammar), callbacks, started_ns, pipes
        )
        pipes.register(guest.stdout, selectors.EVENT_READ, OutputStream.STDOUT)
        pipes.register(guest.stderr, selectors.EVENT_READ, OutputStream.STDERR)
        callbacks.phase(Phase.START, 0.0)
        try:
            end = _attend(session)
            exit_code = guest.poll() if end.status is None else None
            end_s = session.now_s()
            ended_in = clock.phase
        finally:
            remains = _end_all(session)
        kill_s = session.now_s() - end_s
        usage = guest.usage()
        writer.finish(time.monotonic_ns() - started_ns)
    status, reason = _judge(end, exit_code, usage.oom_kills)
    if writer.exceeded and end.status is None:
        status, reason = RunStatus.OUTPUT_LIMIT, session.output_reason()
    return RunResult(
        run_id=spec.run_id,
        status=status,
        reason=reason,
        ended_in=ended_in,
        clock=end.clock,
        exit_code=exit_code,
        started_at=started_at,
        wall_s=end_s,
        train_wall_s=_train_wall(clock, session.points),
        phases=clock.times(end_s),
        points=tuple(session.points),
        output_bytes=writer.bytes,
        output_lines=writer.lines,
        usage=usage,
        teardown=Teardown(kill_s, remains),
        log_sha256=sha256_file(log),
        stamps_sha256=sha256_file(stamps),
    )


def _attend(session: _Session) -> _End:
    """Read output until the guest exits, a deadline or limit is exceeded, or the operator cancels."""
    while True:
        due = session.clock.due()
        session.listen(min(due.at_s - session.now_s(), TICK_S))
        session.callbacks.tick()
        if session.guest.poll() is not None:
            return _End(None)
        if session.writer.exceeded:
            return _End(RunStatus.OUTPUT_LIMIT, session.output_reason())
        if session.callbacks.cancelled():
            _ask_to_end(session)
            return _End(RunStatus.CANCELLED, "the operator cancelled the run")
        due = session.clock.due()
        if session.now_s() >= due.at_s:
            if due.clock == STALL:
                return _End(RunStatus.STALLED, "no new step within the stall timeout", due.clock)
            return _End(
                RunStatus.TIMED_OUT, f"the {due.clock} deadline passed at {due.at_s:.1f} s", due.clock
            )


def _ask_to_end(session: _Session) -> None:
    """Send SIGTERM, and read output until the guest exits, or its grace or the total deadline has passed."""
    session.guest.terminate()
    began_s = session.now_s()
    total_s = session.clock.total_s
    while session.guest.poll() is None and session.now_s() < min(
        began_s + session.callbacks.grace_s(), total_s
    ):
        session.listen(TICK_S)
        if session.writer.exceeded:  # all that it prints from now on would be dropped
            return


def _end_all(session: _Session) -> tuple[str, ...]:
    """Kill repeatedly until nothing is left, drain the pipes, and return what still remains."""
    session.guest.kill()
    until = session.now_s() + GONE_WITHIN_S
    late = False
    # looks once more after the time is up: this process may have been paused since its last look
    while (remains := session.guest.remains()) and not late:
        late = session.now_s() >= until
        session.listen(0.01)
        session.guest.kill()
    until = session.now_s() + GONE_WITHIN_S  # what is in the pipes is read however long the kill took
    while session.open_pipes.get_map():
        heard = session.listen(0.2)
        if session.now_s() >= until or (remains and not heard):  # what remains may keep a pipe open for ever
            break
    return remains


def _judge(end: _End, exit_code: int | None, oom_kills: int | None) -> tuple[RunStatus, str]:
    if end.status is not None:
        killed = f"; before that, {_oom_kills(oom_kills)}" if oom_kills else ""
        return end.status, end.reason + killed
    if exit_code == 0:
        return RunStatus.COMPLETED, "the guest exited with code 0"
    if oom_kills:
        return RunStatus.OUT_OF_MEMORY, _oom_kills(oom_kills)
    return RunStatus.CRASHED, f"the guest exited with code {exit_code}"


def _oom_kills(number: int) -> str:
    return (
        f"the kernel killed {number} {'process' if number == 1 else 'processes'} of the guest (out of memory)"
    )


def _train_wall(clock: PhaseClock, points: list[Point]) -> float | None:
    began = clock.training_began_s()
    stamps = [p.host_ns for p in points if p.val_loss is not None and p.host_ns is not None]
    if began is None or not stamps:
        return None
    return max(stamps[-1] / 1e9 - began, 0.0)

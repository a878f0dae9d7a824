"""
Keeping one guest to its RunSpec: clocks, pipes, kills and the proof that it is gone. Knows no engine.

The host's monotonic clock decides. At a deadline the guest is killed at once, without asking; SIGTERM comes
first only when the operator cancels. What the guest prints is stored and parsed into claims, and moves the
phase clocks; it cannot move the total.
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
"""How long the kit keeps killing and looking before it says what remains."""
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class RunCallbacks:
    """Who is told of a run's progress, and who may stop it."""

    phase: Callable[[Phase, float], None] = lambda phase, now_s: None
    """Called when a phase begins, with host seconds since the start."""
    point: Callable[[Point], None] = lambda point: None
    cancelled: Callable[[], bool] = lambda: False
    """Polled; once it is true, the guest is asked to end and then ended."""
    tick: Callable[[], None] = lambda: None
    """Called many times a second while the guest runs, whether it prints or not."""


@dataclass(frozen=True, slots=True)
class _End:
    """Why the kit stopped listening."""

    status: RunStatus | None
    """None if the guest ended by itself."""
    reason: str = ""
    clock: str | None = None


@dataclass(slots=True)
class _Session:
    """One supervised guest: its pipes, its log and its clocks."""

    guest: Guest
    limits: Limits
    writer: LogWriter
    clock: PhaseClock
    claims: ClaimReader
    watch: RunCallbacks
    started_ns: int
    open_pipes: selectors.BaseSelector
    points: list[Point] = field(default_factory=list)
    claimed: int = 0
    """How many claims the guest printed; beyond `MAX_CLAIMS` it is ended."""

    def now_s(self) -> float:
        return (time.monotonic_ns() - self.started_ns) / 1e9

    def listen(self, timeout_s: float) -> bool:
        """Store what arrives within the timeout; tell whether anything did."""
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
                self.watch.phase(self.clock.phase, t_ns / 1e9)
            if point is not None:
                self.watch.point(point)
        if self.claimed > MAX_CLAIMS:
            self.writer.stop()

    def output_reason(self) -> str:
        """Say which limit of its output the guest passed."""
        if self.claimed > MAX_CLAIMS:
            return f"it printed more than {MAX_CLAIMS} claims"
        if self.writer.out_of_pieces:
            return f"it printed more than {self.writer.max_pieces} lines"
        return f"it printed more than {self.limits.output} bytes"


def supervise(
    spec: RunSpec, start: Callable[[], Guest], log: Path, stamps: Path, grammar: Grammar, watch: RunCallbacks
) -> RunResult:
    """
    Start a guest, keep it to its deadlines and limits, end it, and return what was observed.

    `start` starts it; `log` and `stamps` are written as they fill. Nothing of the guest is left when this
    returns, or `RunResult.teardown.remains` says what is. Raises what `start` raises.
    """
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    started_ns = time.monotonic_ns()
    with (
        LogWriter(log, stamps, spec.limits) as writer,
        contextlib.closing(start()) as guest,
        selectors.DefaultSelector() as pipes,
    ):
        clock = PhaseClock(spec.deadlines, spec.untimed_steps)
        session = _Session(guest, spec.limits, writer, clock, ClaimReader(grammar), watch, started_ns, pipes)
        pipes.register(guest.stdout, selectors.EVENT_READ, OutputStream.STDOUT)
        pipes.register(guest.stderr, selectors.EVENT_READ, OutputStream.STDERR)
        watch.phase(Phase.START, 0.0)
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
    """Listen until the guest ends, a clock runs out, a limit is passed or the operator cancels."""
    while True:
        due = session.clock.due()
        session.listen(min(due.at_s - session.now_s(), TICK_S))
        session.watch.tick()
        if session.guest.poll() is not None:
            return _End(None)
        if session.writer.exceeded:
            return _End(RunStatus.OUTPUT_LIMIT, session.output_reason())
        if session.watch.cancelled():
            _ask_to_end(session)
            return _End(RunStatus.CANCELLED, "the operator cancelled the run")
        due = session.clock.due()
        if session.now_s() >= due.at_s:
            if due.clock == STALL:
                return _End(RunStatus.STALLED, "no new step came before the stall clock ran out", due.clock)
            return _End(
                RunStatus.TIMED_OUT, f"the {due.clock} deadline passed at {due.at_s:.1f} s", due.clock
            )


def _ask_to_end(session: _Session) -> None:
    session.guest.terminate()
    until = session.now_s() + GRACE_S
    while session.guest.poll() is None and session.now_s() < until:
        session.listen(TICK_S)


def _end_all(session: _Session) -> tuple[str, ...]:
    """Kill until nothing is left, drain the pipes, and return what remains after all."""
    until = session.now_s() + GONE_WITHIN_S
    session.guest.kill()
    while (remains := session.guest.remains()) and session.now_s() < until:
        session.listen(0.01)
        session.guest.kill()
    while session.open_pipes.get_map() and session.now_s() < until:
        if not session.listen(0.2):
            break
    return remains


def _judge(end: _End, exit_code: int | None, oom_kills: int | None) -> tuple[RunStatus, str]:
    if end.status is not None:
        killed = f"; the kernel had killed {oom_kills} of its processes for memory" if oom_kills else ""
        return end.status, end.reason + killed
    if exit_code == 0:
        return RunStatus.COMPLETED, "the guest exited with 0"
    if oom_kills:
        return RunStatus.OUT_OF_MEMORY, f"the kernel killed {oom_kills} of its processes for memory"
    return RunStatus.CRASHED, f"the guest exited with {exit_code}"


def _train_wall(clock: PhaseClock, points: list[Point]) -> float | None:
    began = clock.training_began_s()
    stamps = [p.host_ns for p in points if p.val_loss is not None and p.host_ns is not None]
    if began is None or not stamps:
        return None
    return max(stamps[-1] / 1e9 - began, 0.0)

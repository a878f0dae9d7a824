"""Show a run on stderr while it goes on; `kit.cli.result_lines` shows how it ended. Decides nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from kit.cli.speed import speed_lines
from kit.cli.stderr import STDERR
from kit.cli.terminal import fail, note, warn
from kit.core.text import counted, one_line
from kit.evaluate.plan import RunPlan
from kit.evaluate.run import Listener
from kit.gpu.preflight import Preflight
from kit.result.appraisal.verdict import WARM_IS_UNRANKED
from kit.result.predicate import CompileCache
from kit.sandbox.folder import RunFolder
from kit.sandbox.isolation_probe import IsolationResult
from kit.sandbox.speed_probe import GpuSpeed
from kit.sandbox.supervise import RunCallbacks
from kit.values.profile import Profile
from kit.values.run_result import Point
from kit.values.run_spec import Phase

LINES_PER_S = 4.0
"""Validation lines that are printed per second, however many the guest prints."""
BURST = 8
"""Validation lines that are printed at once after a quiet time."""
SHOWN_EVERY_S = 0.2
"""How often a training line may change the live line."""
PHASES = {
    Phase.START: "start (waiting for the first line)",
    Phase.WARMUP: "warm-up",
    Phase.TRAINING: "training",
    Phase.TEARDOWN: "teardown",
}


class LineRate:
    """Says whether one more line may be printed: `BURST` at once, `LINES_PER_S` in the long run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._then = clock()

    def take(self) -> bool:
        """Tell whether a line may be printed now, and count it if so."""
        now = self._clock()
        self._left = min(self._left + (now - self._then) * LINES_PER_S, BURST)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Live:
    """Shows phases and validation lines, and the newest step as progress; losses in nats per token."""

    def __init__(self, plan: RunPlan, rate: LineRate | None = None) -> None:
        self._plan = plan
        self._rate = rate or LineRate()
        self._shown_s = 0.0
        self._waiting: Point | None = None
        """The newest validation line, if it came too soon after others."""
        self._loss = ""
        """The newest validation loss, as text."""
        self._ended = False
        """Whether the teardown began and was not shown yet."""
        self._prefix = ""
        """Which rerun the steps belong to."""

    def waiting(self, pid: int | None) -> None:
        """Show that the run waits for another one."""
        STDERR.stage(waiting_line(pid))

    def reserved(self, folder: RunFolder) -> None:
        """Name the run."""
        plan = self._plan
        smoke = plan.terms.profile is Profile.SMOKE
        note(
            f"run {folder.run_id}: record {plan.record.name}, profile {plan.terms.profile}"
            f"{' (never ranked)' if smoke else ''}, runtime {plan.runtime.name}, image {plan.era}"
        )
        for reason in plan.terms.ranking_blockers:
            warn(f"this run will not be ranked: {reason}")
        if plan.compile_cache is CompileCache.WARM:
            warn(f"this run will not be ranked: {WARM_IS_UNRANKED}")
        if not plan.runtime.contains:
            warn("the runtime host provides no isolation: the script runs with your rights")
        else:
            STDERR.stage("check isolation")

    def probed(self, probe: IsolationResult) -> None:
        """Show what the isolation probe found."""
        passed = len(probe.checks) - len(probe.failed)
        note(
            f"isolation: {passed} of {counted(len(probe.checks), 'check')} passed (run inside the container)"
        )
        for check in probe.failed:
            fail(f"{check.id}: {one_line(check.detail)}")
        if probe.enforcement.not_enforced:
            warn(f"not enforced on this machine: {', '.join(probe.enforcement.not_enforced)}")
        if self._plan.terms.gpus:
            STDERR.stage("measure GPU speed")

    def measured(self, speed: GpuSpeed) -> None:
        """Show how fast the GPUs are."""
        for line in speed_lines(speed.figures):
            note(f"  {line}")
        if speed.fault:
            warn(f"this run will not be ranked: GPU speed was not measured: {one_line(speed.fault)}")

    def phase(self, phase: Phase, now_s: float) -> None:
        """Show that a phase began. Teardown is shown after the validation line that starts it."""
        self._print_waiting()
        if phase is Phase.TEARDOWN:
            self._ended = True
        else:
            STDERR.stage(PHASES[phase])

    def auditing(self) -> None:
        """Show that the run has ended and its checks begin."""
        self._print_waiting()
        self._print_end()
        STDERR.stage("audit")

    def rerunning(self, name: str) -> None:
        """Show that an audit starts a further run."""
        self._prefix, self._loss = f"{name}: ", ""
        STDERR.stage(f"audit: run {name}")

    def point(self, point: Point) -> None:
        """Show a validation line if they are few; a training line only as progress."""
        if point.val_loss is not None:
            self._loss = f"val_loss {point.val_loss:.4f}"
            if self._rate.take():
                self._waiting = None
                self._print(point)
            else:
                self._waiting = point
        self.progress(point)
        self._print_end()

    def rerun_point(self, point: Point) -> None:
        """Show the step of an audit's run as progress."""
        if point.val_loss is not None:
            self._loss = f"val_loss {point.val_loss:.4f}"
        self.progress(point)

    def progress(self, point: Point) -> None:
        """Show the step that was reached."""
        now = time.monotonic()
        if now - self._shown_s >= SHOWN_EVERY_S:
            self._shown_s = now
            STDERR.show(f"{self._prefix}{_step(point)}", point.step, point.total_steps, self._loss)

    def tick(self) -> None:
        """Print the validation line that had to wait, once it may be printed."""
        if self._waiting is not None and self._rate.take():
            self._print_waiting()
        self._print_end()

    def _print_end(self) -> None:
        if self._ended:
            self._ended = False
            self._print_waiting()
            STDERR.stage(PHASES[Phase.TEARDOWN])

    def _print_waiting(self) -> None:
        point, self._waiting = self._waiting, None
        if point is not None:
            self._print(point)

    def _print(self, point: Point) -> None:
        clock = f"  train time {point.train_time_ms / 1e3:.1f} s" if point.train_time_ms is not None else ""
        note(f"{STDERR.elapsed()}{_step(point)}  val_loss {point.val_loss:.4f}{clock}")


def _step(point: Point) -> str:
    return f"step {point.step}/{point.total_steps or '?'}"


def listener(plan: RunPlan, cancelled: Callable[[], bool]) -> Listener:
    """Return what shows a run on stderr while it goes on."""
    live = Live(plan)
    return Listener(
        watch=RunCallbacks(phase=live.phase, point=live.point, cancelled=cancelled, tick=live.tick),
        waiting=live.waiting,
        reserved=live.reserved,
        probed=live.probed,
        measured=live.measured,
        auditing=live.auditing,
        rerunning=live.rerunning,
        rerun_point=live.rerun_point,
    )


def waiting_line(pid: int | None) -> str:
    """Return that a run waits for the one of process `pid`, which is unknown if it is None."""
    return f"wait for {'another run' if pid is None else f'the run of process {pid}'} to end"


def machine(preflight: Preflight) -> None:
    """Show which GPUs the run gets, and what is unusual about them."""
    if preflight.gpus:
        names = ", ".join(sorted({gpu.name for gpu in preflight.gpus}))
        note(f"GPUs: {len(preflight.gpus)} x {names}, driver {preflight.driver}")
    for finding in preflight.warnings:
        warn(f"this run will not be ranked: {finding.detail}")
        if finding.fix:
            note(f"hint: {finding.fix}")

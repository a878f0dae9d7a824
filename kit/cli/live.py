"""What a person sees of a run while it goes on and when it has ended, and the same as one JSON object."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kit.cli.speed import speed_lines
from kit.cli.terminal import note, redraw
from kit.core.text import one_line
from kit.evaluate.plan import RunPlan
from kit.evaluate.run import Evaluation, Listener
from kit.gpu.preflight import Preflight
from kit.sandbox.folder import RunFolder
from kit.sandbox.isolation_probe import Probe
from kit.sandbox.speed_probe import Speed
from kit.sandbox.supervise import RunCallbacks
from kit.values.run_result import Point
from kit.values.run_spec import Phase

LINES_PER_S = 4.0
"""Claims that are told a second, however many the guest prints."""
BURST = 8
"""Claims that may be told at once after a quiet time."""
TRAIN_EVERY_S = 2.0
LAST_LINES = 12
LAST_BYTES = 8192


class LineRate:
    """Says whether one more line may be printed: `BURST` at once, `LINES_PER_S` in the long run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._then = clock()

    def take(self) -> bool:
        """Use up the right to one line if there is one now."""
        now = self._clock()
        self._left = min(self._left + (now - self._then) * LINES_PER_S, BURST)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Live:
    """Tells phases, and of the claims the latest ones, a few lines a second; losses in nats per token."""

    def __init__(self, plan: RunPlan, rate: LineRate | None = None) -> None:
        self._plan = plan
        self._tty = sys.stderr.isatty()
        self._rate = rate or LineRate()
        self._last_step_s = 0.0
        self._waiting: Point | None = None
        """The latest validation claim that came too soon after others."""

    def reserved(self, folder: RunFolder) -> None:
        """Name the run."""
        plan = self._plan
        note(
            f"run {folder.run_id}: record {plan.record.name}, "
            f"profile {plan.terms.profile}, runtime {plan.runtime.name}, image {plan.era}"
        )
        if plan.terms.profile == "smoke":
            note("  UNRANKED: the smoke profile is a toy task on synthetic data")
        for reason in plan.terms.ranking_blockers:
            note(f"  UNRANKED: {reason}")
        if not plan.runtime.contains:
            note("  UNRANKED: this runtime contains nothing; the guest is a process of this user")

    def probed(self, probe: Probe) -> None:
        """Tell what the isolation probe found."""
        shut = len(probe.checks) - len(probe.failed)
        note(f"  isolation: {shut} of {len(probe.checks)} ways out are shut, asked from the inside")
        for check in probe.failed:
            note(f"    OPEN {check.id}: {one_line(check.detail)}")
        if probe.enforcement.not_enforced:
            note(f"    not enforced on this machine: {', '.join(probe.enforcement.not_enforced)}")

    def measured(self, speed: Speed) -> None:
        """Tell how fast the GPUs are."""
        for line in speed_lines(speed.figures):
            note(f"  {line}")
        if speed.fault:
            note(f"  UNRANKED: the GPUs could not be measured: {one_line(speed.fault)}")

    def phase(self, phase: Phase, now_s: float) -> None:
        """Tell that a phase began."""
        self._tell_waiting()
        self._clear()
        note(f"  {now_s:7.1f} s  {phase}")

    def point(self, point: Point) -> None:
        """Tell a claim: validation lines if they are few, training lines now and then."""
        if point.val_loss is None:
            now = time.monotonic()
            if now - self._last_step_s < TRAIN_EVERY_S:
                return
            self._last_step_s = now
        if self._rate.take():
            self._waiting = None
            self._tell(point)
        elif point.val_loss is not None:
            self._waiting = point

    def tick(self) -> None:
        """Tell the claim that had to wait, once it may be told."""
        if self._waiting is not None and self._rate.take():
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        point, self._waiting = self._waiting, None
        if point is not None:
            self._tell(point)

    def _tell(self, point: Point) -> None:
        self._clear()
        loss = f"  val_loss {point.val_loss:.4f}" if point.val_loss is not None else ""
        clocks = f"host {(point.host_ns or 0) / 1e9:.1f} s"
        if point.train_time_ms is not None:
            clocks += f", its own clock {point.train_time_ms / 1e3:.1f} s"
        line = f"             step {point.step}/{point.total_steps or '?'}{loss}  ({clocks})"
        if self._tty and point.val_loss is None:
            redraw(line)
        else:
            note(line)

    def _clear(self) -> None:
        if self._tty:
            redraw()


def listener(plan: RunPlan, cancelled: Callable[[], bool]) -> Listener:
    """Return what tells a person about a run on stderr while it goes on."""
    live = Live(plan)
    return Listener(
        watch=RunCallbacks(phase=live.phase, point=live.point, cancelled=cancelled, tick=live.tick),
        reserved=live.reserved,
        probed=live.probed,
        measured=live.measured,
        rerunning=lambda name: note(f"  audit: running {name}"),
    )


def machine(preflight: Preflight) -> None:
    """Tell which GPUs the run gets, and what is odd about them."""
    if preflight.gpus:
        names = ", ".join(sorted({gpu.name for gpu in preflight.gpus}))
        note(f"GPUs: {len(preflight.gpus)} x {names}, driver {preflight.driver}")
    for finding in preflight.warnings:
        note(f"  UNRANKED: {finding.detail}" + (f" (hint: {finding.fix})" if finding.fix else ""))


def close(outcome: Evaluation) -> None:
    """Tell how the run ended."""
    p = outcome.predicate
    loss = "no final loss" if p.claims.final_val_loss is None else f"val_loss {p.claims.final_val_loss:.4f}"
    note(f"  {p.run.status}: {one_line(p.run.reason)}")
    if p.run.status != "completed":
        _tell_last_words(outcome.bundle.parent / "guest.log")
    for check in p.audit.checks:
        note(f"  audit {check.id}: {check.outcome}: {one_line(check.detail)}")
    note(
        f"  {p.score.verdict}: {loss}, target {p.task.target_val_loss:g}; "
        f"{p.observations.wall_s:.1f} s on the host's clock"
    )
    if not p.score.ranked:
        note(f"  unranked: {'; '.join(map(one_line, p.score.unranked_because))}")


def _tell_last_words(log: Path) -> None:
    """Show the end of what the guest printed."""
    with log.open("rb") as f:
        f.seek(max(f.seek(0, 2) - LAST_BYTES, 0))
        lines = f.read().decode(errors="replace").splitlines()[-LAST_LINES:]
    for line in lines:
        note(f"    guest | {one_line(line, 200)}")


def summary(outcome: Evaluation) -> dict[str, Any]:
    """Return the object that `eval --json` prints."""
    p = outcome.predicate
    return {
        "run_id": p.run.id,
        "status": p.run.status,
        "reason": p.run.reason,
        "verdict": p.score.verdict,
        "bundle": str(outcome.bundle),
        "claims": {
            "steps": p.claims.final_step,
            "final_val_loss": p.claims.final_val_loss,
            "train_time_ms": p.claims.train_time_ms,
        },
        "observations": {
            "wall_s": round(p.observations.wall_s, 3),
            "train_wall_s": None
            if p.observations.train_wall_s is None
            else round(p.observations.train_wall_s, 3),
            "phases": {t.phase: round(t.seconds, 3) for t in p.observations.phases},
        },
        "audit": {
            c.id: {"outcome": c.outcome, "severity": c.severity, "detail": c.detail} for c in p.audit.checks
        },
        "score": {
            "ranked": p.score.ranked,
            "fsr": p.score.fsr,
            "unranked_because": list(p.score.unranked_because),
        },
    }

"""What a person sees of a run while it goes on and when it has ended, and the same as one JSON object."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kit.cli.speed import speed_lines
from kit.cli.terminal import note
from kit.evaluate.plan import RunPlan
from kit.evaluate.run import Evaluation, Listener
from kit.gpu.preflight import Preflight
from kit.sandbox.folder import RunFolder
from kit.sandbox.isolation_probe import Probe
from kit.sandbox.speed_probe import Speed
from kit.sandbox.supervise import RunCallbacks
from kit.values.run_result import Point
from kit.values.run_spec import Phase

EVERY_S = 2.0
LAST_LINES = 12
LAST_BYTES = 8192


class Live:
    """Tells phases, validation lines, and every few seconds the step; losses in nats per token."""

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self._tty = sys.stderr.isatty()
        self._last_step_s = 0.0

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
            note(f"    OPEN {check.id}: {check.detail}")
        if probe.enforcement.not_enforced:
            note(f"    not enforced on this machine: {', '.join(probe.enforcement.not_enforced)}")

    def measured(self, speed: Speed) -> None:
        """Tell how fast the GPUs are."""
        for line in speed_lines(speed.figures):
            note(f"  {line}")
        if speed.fault:
            note(f"  UNRANKED: the GPUs could not be measured: {speed.fault}")

    def phase(self, phase: Phase, now_s: float) -> None:
        """Tell that a phase began."""
        self._clear()
        note(f"  {now_s:7.1f} s  {phase}")

    def point(self, point: Point) -> None:
        """Tell a claim: validation lines always, training lines now and then."""
        now = time.monotonic()
        if point.val_loss is None and now - self._last_step_s < EVERY_S:
            return
        self._last_step_s = now
        self._clear()
        loss = f"  val_loss {point.val_loss:.4f}" if point.val_loss is not None else ""
        clocks = f"host {(point.host_ns or 0) / 1e9:.1f} s"
        if point.train_time_ms is not None:
            clocks += f", its own clock {point.train_time_ms / 1e3:.1f} s"
        line = f"             step {point.step}/{point.total_steps or '?'}{loss}  ({clocks})"
        click.echo(line, err=True, nl=not self._tty or point.val_loss is not None)

    def _clear(self) -> None:
        if self._tty:
            click.echo("\r\x1b[K", err=True, nl=False)


def listener(plan: RunPlan, cancelled: Callable[[], bool]) -> Listener:
    """Return what tells a person about a run on stderr while it goes on."""
    live = Live(plan)
    return Listener(
        watch=RunCallbacks(phase=live.phase, point=live.point, cancelled=cancelled),
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
        note(f"  UNRANKED: {finding.detail}" + (f" (try: {finding.fix})" if finding.fix else ""))


def close(outcome: Evaluation) -> None:
    """Tell how the run ended."""
    p = outcome.predicate
    loss = "no final loss" if p.claims.final_val_loss is None else f"val_loss {p.claims.final_val_loss:.4f}"
    note(f"  {p.run.status}: {p.run.reason}")
    if p.run.status != "completed":
        _tell_last_words(outcome.bundle.parent / "guest.log")
    for check in p.audit.checks:
        note(f"  audit {check.id}: {check.outcome}: {check.detail}")
    note(
        f"  {p.score.verdict}: {loss}, target {p.task.target_val_loss:g}; "
        f"{p.observations.wall_s:.1f} s on the host's clock"
    )
    if not p.score.ranked:
        note(f"  unranked: {'; '.join(p.score.unranked_because)}")


def _tell_last_words(log: Path) -> None:
    """Show the end of what the guest printed."""
    with log.open("rb") as f:
        f.seek(max(f.seek(0, 2) - LAST_BYTES, 0))
        lines = f.read().decode(errors="replace").splitlines()[-LAST_LINES:]
    for line in lines:
        note(f"    guest | {line[:200]}")


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

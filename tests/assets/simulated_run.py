"""SIMULATED runs: claims with the host's stamps as scripts of records print them, and results of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kit.audit import baseline, evidence, floor, trace
from kit.audit.baseline import RunTimings
from kit.audit.finding import Finding
from kit.core.codec import pairs
from kit.evaluate.compose import evidence_of
from kit.result import derive
from kit.result.appraisal import trust, verdict
from kit.result.predicate import AuditCheck, Outcome, Predicate, Severity
from kit.values.cadence import Cadence
from kit.values.log import Grammar
from kit.values.run_result import Point, RunStatus

S = 1_000_000_000
VOCABULARY = 50257


@dataclass(frozen=True)
class Script:
    """How a script runs. Seconds."""

    total: int = 120
    step_s: float = 0.5
    validates_every: int = 20
    validation_s: float = 1.5
    queued_s: float = 0.0
    """By how much the device is behind when a training line is printed; a validation waits for it first."""
    untimed: int = 10
    start_s: float = 8.0
    compile_s: float = 20.0
    """In the first step."""
    late_s: float = 0.0
    """A line may be stamped this much late, now and then."""
    clock: bool = True


def honest(script: Script, seed: int = 0) -> tuple[Point, ...]:
    """Return all claims of an honest run, in order, with stamps."""
    chance, points = random.Random(seed), []
    now, spent, since = script.start_s, 0.0, script.start_s

    def say(step: int, loss: float | None, time_s: float) -> None:
        late = chance.random() * script.late_s if chance.random() < 0.05 else 0.0
        ms = round(1000 * time_s) if script.clock else None
        stamp = max(round((now + late) * S), points[-1].host_ns if points else 0)
        points.append(Point(step, script.total, loss, ms, stamp))

    for step in range(script.total + 1):
        if step == script.total or step % script.validates_every == 0:
            now += script.queued_s if step else 0.0
            spent += now - since
            now += script.validation_s
            say(step, 10.8 - 7.5 * step / script.total, spent)
            now += 0.001
            since = now
        if step == script.total:
            return tuple(points)
        if step == script.untimed:
            spent, since = 0.0, now
        first_after = step % script.validates_every == 0
        now += script.step_s - (min(script.queued_s, script.step_s / 2) if first_after else 0.0)
        now += script.compile_s if step == 0 else 0.0
        say(step + 1, None, spent + now - since)
    raise AssertionError


def timings_of(points: Sequence[Point], untimed: int) -> RunTimings:
    """Return how a simulated run went, as `kit.evaluate.reruns.timings_of` does."""
    val = [p for p in points if p.val_loss is not None and p.step == p.total_steps]
    wall = train_wall_s(points, untimed)
    if not val or wall is None:
        return RunTimings(None, None, None, None)
    end, begin = val[-1], next(p.host_ns or 0 for p in points if p.step > untimed)
    claimed = wall if end.train_time_ms is None else end.train_time_ms / 1e3
    return RunTimings(
        begin / S, (end.host_ns or 0) / S, claimed, end.total_steps, baseline.validation_s(points)
    )


def train_wall_s(points: Sequence[Point], untimed: int) -> float | None:
    """Return the host's time from the first timed line to the last validation line, as `supervise` does."""
    begin = next((p.host_ns for p in points if p.step > untimed), None)
    ends = [p.host_ns for p in points if p.val_loss is not None]
    return None if begin is None or not ends else max(0.0, ((ends[-1] or 0) - begin) / S)


def findings_of(
    points: Sequence[Point], cadence: Cadence, untimed: int, start: RunTimings | None
) -> tuple[Finding, ...]:
    """Run the checks of a run itself, and with the start script's timings those that compare the two."""
    compared = baseline.judge(timings_of(points, untimed), start) if start else ()
    every = cadence.training_every or 1
    return (
        *evidence.judge(points, cadence),
        *trace.judge(points, untimed, VOCABULARY, every),
        floor.check(points, 3.2),
        *compared,
    )


def result_of(
    plain: Predicate,
    points: tuple[Point, ...],
    cadence: Cadence,
    untimed: int = 10,
    start: RunTimings | None = None,
    others: tuple[str, ...] = (),
) -> Predicate:
    """Return `plain` with what these points claim and show; `others` are further checks that passed."""
    grammar = Grammar.STEP if cadence.guest_clock else Grammar.CLASSIC
    val = tuple(p for p in points if p.val_loss is not None)
    claims = derive.claims_of(val, grammar)
    checks = tuple(
        AuditCheck(f.id, Severity(f.severity), Outcome(f.outcome), f.detail, pairs(dict(f.figures)))
        for f in findings_of(points, cadence, untimed, start)
    )
    named = {c.id for c in checks}
    needed = (*trust.SCREENED_PASSED, *trust.SCREENED_JUDGED, *others)
    checks += tuple(
        AuditCheck(name, Severity.FATAL, Outcome.PASSED, "", ())
        for name in dict.fromkeys(needed)
        if name not in named
    )
    observed = replace(
        plain.observations,
        val_point_host_ms=derive.host_ms_of(val),
        train_wall_s=train_wall_s(points, untimed),
    )
    made = replace(
        plain,
        run=replace(plain.run, status=RunStatus.COMPLETED, untimed_steps=untimed),
        claims=claims,
        evidence=evidence_of(claims, cadence, derive.count_training_lines(points)),
        observations=observed,
        audit=replace(plain.audit, checks=checks),
    )
    judged = verdict.judge(made.run.status, claims, made.task.target_val_loss, checks)
    return replace(made, score=replace(made.score, verdict=judged))

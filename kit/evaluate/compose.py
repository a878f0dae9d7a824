"""Compose the predicate that is signed from the plan, the observations and the findings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kit.audit.finding import Finding
from kit.benchmark.records import own_digest
from kit.core.codec import pairs, prose
from kit.core.digest import Sha256
from kit.evaluate.plan import RunPlan
from kit.evaluate.prepare import Prepared
from kit.evaluate.request import Places
from kit.gpu import machine
from kit.gpu.preflight import LINKS, MODEL, Preflight
from kit.result.appraisal.trust import TIER_RULES
from kit.result.appraisal.verdict import judge, ranking_blockers
from kit.result.derive import claims_of, count_training_lines, observations_of
from kit.result.predicate import (
    Audit,
    AuditCheck,
    Claims,
    CompileCache,
    Cpu,
    Environment,
    Evidence,
    Gpu,
    Hardware,
    HeldOut,
    Inputs,
    Isolation,
    IsolationCheck,
    IsolationReport,
    Lines,
    Manifest,
    Outcome,
    Predicate,
    Run,
    RuntimeInfo,
    Score,
    Severity,
    TaskInfo,
    Verdict,
)
from kit.sandbox.isolation_probe import ProbeCheck
from kit.sandbox.speed_probe import GpuSpeed
from kit.values.cadence import Cadence
from kit.values.run_result import Enforcement, Point, RunResult
from kit.values.run_spec import RunSpec
from kit.values.software import Kit
from kit.values.task_id import set_of


@dataclass(frozen=True, slots=True)
class HostObservations:
    """What the host observed around a run, in addition to its result."""

    checks: tuple[ProbeCheck, ...] = ()
    """Of the isolation probe."""
    enforcement: Enforcement | None = None
    """None if no guest was started."""
    speed: GpuSpeed | None = None
    """None if the run has no GPUs."""


NOTHING_SEEN = HostObservations()


@dataclass(frozen=True, slots=True)
class Reserved:
    """What was fixed before the run started, in addition to its RunSpec."""

    nonce: str
    entry: str
    kit: Kit
    compile_cache: Sha256 | None = None
    """Digest of the warm compile cache."""


def run_of(spec: RunSpec, result: RunResult, reserved: Reserved) -> Run:
    """Return what was started and how it ended. The environment's values are published as they are."""
    return Run(
        id=spec.run_id,
        nonce=reserved.nonce,
        status=result.status,
        reason=prose(result.reason),
        ended_in=result.ended_in,
        clock=result.clock,
        exit_code=result.exit_code,
        started_at=result.started_at,
        argv=spec.argv,
        entry=reserved.entry,
        env=pairs(dict(spec.env)),
        compile_cache=CompileCache.WARM if reserved.compile_cache else CompileCache.COLD,
        world_size=spec.world_size,
        gpus=spec.gpus,
        deadlines=spec.deadlines,
        limits=spec.limits,
        untimed_steps=spec.untimed_steps,
        kit=reserved.kit,
        compile_cache_sha256=reserved.compile_cache,
    )


def evidence_of(claims: Claims, cadence: Cadence, training_lines: int) -> Evidence:
    """Return how many lines the run had to print up to its last step, and how many it printed."""
    last = claims.final_step or 0
    return Evidence(
        guest_clock=cadence.guest_clock,
        training_lines=Lines(cadence.training_lines(last), training_lines),
        validation_lines=Lines(cadence.validation_lines(last), claims.val_points_printed),
    )


def runtime_of(enforcement: Enforcement) -> RuntimeInfo:
    """Return the isolation that was enforced on the guest."""
    return RuntimeInfo(
        name=enforcement.runtime,
        version=enforcement.version,
        contains=enforcement.contains,
        config_sha256=enforcement.config_sha256,
        not_enforced=enforcement.not_enforced,
    )


def compose(
    ready: Prepared,
    places: Places,
    result: RunResult,
    observations: HostObservations,
    findings: tuple[Finding, ...],
    points: tuple[Point, ...] = (),
    held_out: HeldOut | None = None,
) -> Predicate:
    """Return the whole predicate of one run; `points` are all of its claims, training lines too."""
    plan = ready.plan
    claims = claims_of(result.points, plan.terms.grammar)
    audits = _audit_checks(findings)
    verdict = judge(result.status, claims, plan.terms.target_val_loss, audits)
    predicate = Predicate(
        run=run_of(ready.spec, result, Reserved(ready.nonce, plan.entry, places.kit, ready.compile_cache)),
        task=_task(plan),
        environment=_environment(ready, observations),
        hardware=_hardware(ready.preflight, observations.speed),
        inputs=Inputs(
            submission=ready.files,
            data=ready.data,
            record_manifest=Manifest(plan.record.manifest, plan.record.manifest_sha256),
            held_out=held_out,
        ),
        claims=claims,
        observations=observations_of(result),
        evidence=evidence_of(claims, plan.terms.cadence, count_training_lines(points)),
        audit=Audit(audits, TIER_RULES),
        score=Score(verdict, ranked=False, unranked_because=(), fsr=None),
        reproduces=ready.reproduces,
        series=ready.series,
    )
    return replace(predicate, score=_score(predicate, verdict, _unranked(ready, observations.speed)))


def _audit_checks(findings: tuple[Finding, ...]) -> tuple[AuditCheck, ...]:
    return tuple(
        AuditCheck(f.id, Severity(f.severity), Outcome(f.outcome), f.detail, pairs(dict(f.figures)))
        for f in findings
    )


def _task(plan: RunPlan) -> TaskInfo:
    return TaskInfo(
        id=plan.record.name,
        set=set_of(plan.record.name),
        profile=plan.terms.profile,
        target=plan.record.target,
        target_val_loss=plan.terms.target_val_loss,
        target_source=plan.terms.target_source,
        baseline_submission_sha256=own_digest(plan.record),
    )


def _environment(ready: Prepared, observations: HostObservations) -> Environment:
    enforced = observations.enforcement
    return Environment(
        era=ready.plan.era,
        image=ready.image,
        fidelity=ready.fidelity,
        runtime=runtime_of(enforced) if enforced else _unstarted(ready),
        isolation=_isolation(ready, observations.checks),
        byte_code=ready.byte_code,
    )


def _unranked(ready: Prepared, speed: GpuSpeed | None) -> tuple[str, ...]:
    """Return the reasons against ranking that only the host knows."""
    warnings = (f.detail for f in ready.preflight.warnings if f.id not in (MODEL, LINKS))
    slow = (f"the speed of its GPUs was not measured: {speed.fault}",) if speed and speed.fault else ()
    return tuple(prose(reason) for reason in (*ready.plan.terms.ranking_blockers, *warnings, *slow))


def _score(predicate: Predicate, verdict: Verdict, unranked: tuple[str, ...]) -> Score:
    against = (*ranking_blockers(predicate), *unranked)
    return Score(verdict, ranked=not against, unranked_because=against, fsr=None)


def _unstarted(ready: Prepared) -> RuntimeInfo:
    runtime = ready.plan.runtime
    return RuntimeInfo(runtime.name, "unknown", runtime.contains, None, ())


def _isolation(ready: Prepared, checks: tuple[ProbeCheck, ...]) -> IsolationReport:
    probed = tuple(IsolationCheck(c.id, c.passed, c.detail) for c in checks)
    if not ready.plan.runtime.contains:
        level = Isolation.IN_POD if machine.read_machine().in_container else Isolation.NONE
    elif probed and all(c.passed for c in probed):
        level = Isolation.CONTAINED
    else:
        level = Isolation.NONE
    return IsolationReport(level, probed)


def _hardware(preflight: Preflight, speed: GpuSpeed | None) -> Hardware:
    here = machine.read_machine()
    return Hardware(
        cpu=Cpu(here.cpu, here.cores),
        memory=here.memory,
        gpus=tuple(Gpu(gpu.index, gpu.name, gpu.uuid, gpu.memory) for gpu in preflight.gpus),
        driver=preflight.driver or here.driver,
        probe=speed.figures or None if speed else None,
    )

"""
Derive a result's verdict, its ranking blockers and its contradictions from its values.

The writer uses these functions, and the reader uses them again.
"""

from __future__ import annotations

from collections.abc import Iterator

from kit.audit.baseline import NEGATIVE_ROOM_S, WARMUP
from kit.core.digest import tree_digest
from kit.core.text import counted
from kit.result.appraisal.timing import outside_ms, runs_start_script
from kit.result.appraisal.trust import FIRST_RULES, missing_evidence
from kit.result.predicate import (
    AuditCheck,
    Claims,
    CompileCache,
    Isolation,
    Outcome,
    Predicate,
    Severity,
    Verdict,
)
from kit.values.hardware import LINK_VARIABLES, RECORD_GPUS, RECORD_MODELS, format_settings
from kit.values.profile import Profile
from kit.values.run_result import RunStatus
from kit.values.run_spec import INSIDE_CACHE_SCRIPT, Phase

CLOCK_SLACK_S = 1.0
"""How far the phases' sum may be from the wall time: they are read at different moments."""
SMOKE_IS_UNRANKED = "the smoke profile is a toy task"
WARM_IS_UNRANKED = "the run started with a warm compile cache"
MISSING_LINES = "evidence."
"""Checks that fail where a run did not print all its lines. Results of version 0.1 have none of them."""


def judge(
    status: RunStatus, claims: Claims, target_val_loss: float, checks: tuple[AuditCheck, ...]
) -> Verdict:
    """
    Return the verdict.

    `refused` if a fatal check failed: the script broke a rule. `failed` if the run did not complete, even if
    lines are missing (`evidence.*`), or if its last validation line is not the one of its last step, or holds
    no finite loss. Else `reached` if that loss is at most the target.
    """
    broken = [c for c in checks if c.severity is Severity.FATAL and c.outcome is Outcome.FAILED]
    if status is not RunStatus.COMPLETED:
        broken = [c for c in broken if not c.id.startswith(MISSING_LINES)]
    if broken:
        return Verdict.REFUSED
    if status is not RunStatus.COMPLETED or claims.final_val_loss is None or claims.steps is None:
        return Verdict.FAILED
    if claims.final_step != claims.steps:
        return Verdict.FAILED
    return Verdict.REACHED if claims.final_val_loss <= target_val_loss else Verdict.MISSED


def has_loss(predicate: Predicate) -> bool:
    """Return whether a run has a valid final loss, whether or not it reached the target."""
    return predicate.score.verdict in (Verdict.REACHED, Verdict.MISSED)


def ranking_blockers(predicate: Predicate) -> tuple[str, ...]:
    """
    Return the reasons in the predicate why the result cannot be ranked; empty if it can be ranked.

    Of `predicate.score` only the verdict is used. A leaderboard may have further reasons.
    """
    return tuple(_blockers(predicate))


def _blockers(p: Predicate) -> Iterator[str]:
    environment = p.environment
    if p.task.profile is Profile.SMOKE:
        yield SMOKE_IS_UNRANKED
    if not environment.runtime.contains:
        yield f"the runtime {environment.runtime.name} provides no isolation"
    if environment.isolation.level is not Isolation.CONTAINED:
        yield f"isolation is {environment.isolation.level}, not contained"
    for check in environment.isolation.checks:
        if not check.passed:
            yield f"the isolation check {check.id} failed"
    if environment.image is None:
        yield "the run used the machine's own files, not a pinned image"
    if p.run.compile_cache is CompileCache.WARM:
        yield WARM_IS_UNRANKED
    if not p.inputs.data.pinned:
        yield "data: unpinned"
    if p.task.profile is Profile.FULL:
        yield from _gpus(p)
        yield from _warmup_blockers(p)
    if missing := missing_evidence(p):
        yield f"steps and time are not proved: {missing}"
    yield from _time_blockers(p)
    if p.observations.teardown.remains:
        yield f"left behind after exit: {', '.join(p.observations.teardown.remains)}"
    if p.score.verdict is not Verdict.REACHED:
        yield f"the verdict is {p.score.verdict}"


def _gpus(p: Predicate) -> Iterator[str]:
    gpus = p.hardware.gpus
    if not len({g.uuid for g in gpus}) == len(gpus) == p.run.gpus == RECORD_GPUS:
        listed = len({g.uuid for g in gpus}), len(gpus)
        counts = "" if listed == (p.run.gpus, p.run.gpus) else f" and lists {len(gpus)}"
        yield f"the run used {counted(p.run.gpus, 'GPU')}{counts}; the records ran on {RECORD_GPUS}"
    for name in sorted({g.name for g in gpus} - set(RECORD_MODELS)):
        yield f"{name} is not a GPU model that the records ran on"
    settings = tuple(pair for pair in p.run.env if pair[0] in LINK_VARIABLES)
    if settings:
        yield f"links between GPUs were disabled: {format_settings(settings)}"


def _warmup_blockers(p: Predicate) -> Iterator[str]:
    """Require a check of the warm-up against the start script's, except for the start script itself."""
    bounded = any(c.id == WARMUP.id and c.outcome is Outcome.PASSED for c in p.audit.checks)
    if not runs_start_script(p) and not bounded:
        yield "the warm-up was not compared with the start script's on the same machine (--audit baseline)"


def _time_blockers(p: Predicate) -> Iterator[str]:
    """Refuse to rank a run that claims more time than it took; results of version 0.1 are exempt."""
    outside = outside_ms(p)
    if p.audit.tier_rules > FIRST_RULES and outside is not None and outside < -1000 * NEGATIVE_ROOM_S:
        yield f"the run claims {-outside / 1000:.1f} s more than passed up to its last validation line"


def contradictions(predicate: Predicate, submission_sha256: str) -> Iterator[str]:
    """
    Yield every contradiction within a predicate. `submission_sha256` is the subject's digest.

    The stored log is compared in `kit.result.verify`.
    """
    p = predicate
    files = {f.name: f.sha256 for f in p.inputs.submission}
    if len(files) != len(p.inputs.submission) or tree_digest(files) != submission_sha256:
        yield "inputs.submission does not match the digest of the subject"
    if (p.run.compile_cache is CompileCache.WARM) is (p.run.compile_cache_sha256 is None):
        yield "run.compile_cache and run.compile_cache_sha256 contradict each other"
    if p.run.compile_cache is CompileCache.COLD and p.run.argv[3:5] == (str(INSIDE_CACHE_SCRIPT), "use"):
        yield "run.compile_cache is cold, and run.argv starts with a compile cache"
    yield from _claims(p)
    yield from _clocks(p)
    verdict = judge(p.run.status, p.claims, p.task.target_val_loss, p.audit.checks)
    if p.score.verdict is not verdict:
        yield f"the verdict is {p.score.verdict}, but the other fields give {verdict}"
    against = ranking_blockers(p)
    if p.score.ranked and against:
        yield f"the result is marked as ranked, but {against[0]}"
    if p.score.ranked is bool(p.score.unranked_because):
        yield "ranked and unranked_because contradict each other"


def _claims(p: Predicate) -> Iterator[str]:
    points, claims = p.claims.val_points, p.claims
    if len(points) != len(p.observations.val_point_host_ms):
        yield "the number of host stamps differs from the number of validation points"
    if len(points) > claims.val_points_printed:
        yield "there are more validation points than were printed"
    last = points[-1] if points else None
    given = (claims.final_step, claims.final_val_loss, claims.train_time_ms)
    if given != ((last.step, last.val_loss, last.train_time_ms) if last else (None, None, None)):
        yield "the final claims differ from the last validation point"


def _clocks(p: Predicate) -> Iterator[str]:
    observations = p.observations
    order = [list(Phase).index(t.phase) for t in observations.phases]
    if order != sorted(set(order)):
        yield "the phases are not listed in the order start, warmup, training, teardown"
    total = sum(t.seconds for t in observations.phases)
    if (
        p.run.status is not RunStatus.LOST
        and observations.phases
        and abs(total - observations.wall_s) > CLOCK_SLACK_S
    ):
        yield f"the phases add up to {total:.1f} s, but the wall time is {observations.wall_s:.1f} s"
    if (
        observations.train_wall_s is not None
        and observations.train_wall_s > observations.wall_s + CLOCK_SLACK_S
    ):
        yield "the training took longer than the run"
    if p.run.status is RunStatus.COMPLETED and (p.run.exit_code != 0 or p.run.clock is not None):
        yield "the status is completed, but the run did not exit by itself with code 0"
    if p.run.status in (RunStatus.TIMED_OUT, RunStatus.STALLED) and p.run.clock is None:
        yield f"the status is {p.run.status}, but no clock is named"

"""
What a result comes to, derived from its own values: verdict, obstacles to ranking, contradictions.

The writer derives with these functions and the reader derives again. Pure; reads no file and no clock.
"""

from __future__ import annotations

from collections.abc import Iterator

from kit.audit.baseline import NEGATIVE_ROOM_S, WARMUP
from kit.core.digest import tree_digest
from kit.result.appraisal.timing import outside_ms, runs_start_script
from kit.result.appraisal.trust import FIRST_RULES, missing_evidence
from kit.result.predicate import AuditCheck, Claims, Isolation, Outcome, Predicate, Severity, Verdict
from kit.values.hardware import LINK_VARIABLES, RECORD_GPUS, RECORD_MODELS, format_settings
from kit.values.profile import Profile
from kit.values.run_result import RunStatus
from kit.values.run_spec import Phase

CLOCK_SLACK_S = 1.0
"""How far the phases' sum may be from the wall time: they are read at different moments."""
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
    """Tell whether a run ended with a loss that stands, whether that reached the target or not."""
    return predicate.score.verdict in (Verdict.REACHED, Verdict.MISSED)


def ranking_blockers(predicate: Predicate) -> tuple[str, ...]:
    """
    Return why the result cannot be ranked, as far as the predicate itself shows; empty if it can.

    `predicate.score` is not looked at, except for its verdict. A listing may have further reasons.
    """
    return tuple(_blockers(predicate))


def _blockers(p: Predicate) -> Iterator[str]:
    environment = p.environment
    if p.task.profile is Profile.SMOKE:
        yield "the smoke profile is a toy task"
    if not environment.runtime.contains:
        yield f"the runtime {environment.runtime.name} contains nothing"
    if environment.isolation.level is not Isolation.CONTAINED:
        yield f"isolation is {environment.isolation.level}, not contained"
    for check in environment.isolation.checks:
        if not check.passed:
            yield f"the isolation check {check.id} failed"
    if environment.image is None:
        yield "it ran on the machine's own files, not on a pinned image"
    if not p.inputs.data.pinned:
        yield "data: unpinned"
    if p.task.profile is Profile.FULL:
        yield from _gpus(p)
        yield from _warmup_blockers(p)
    if missing := missing_evidence(p):
        yield f"its steps and time are not proved: {missing}"
    yield from _time_blockers(p)
    if p.observations.teardown.remains:
        yield f"after its end there remained: {', '.join(p.observations.teardown.remains)}"
    if p.score.verdict is not Verdict.REACHED:
        yield f"the verdict is {p.score.verdict}"


def _gpus(p: Predicate) -> Iterator[str]:
    gpus = p.hardware.gpus
    if not len({g.uuid for g in gpus}) == len(gpus) == p.run.gpus == RECORD_GPUS:
        yield f"it had {p.run.gpus} GPUs and names {len(gpus)}; the records ran on {RECORD_GPUS}"
    for name in sorted({g.name for g in gpus} - set(RECORD_MODELS)):
        yield f"{name} is not a model that the records ran on"
    settings = tuple(pair for pair in p.run.env if pair[0] in LINK_VARIABLES)
    if settings:
        yield f"links between its GPUs were switched off: {format_settings(settings)}"


def _warmup_blockers(p: Predicate) -> Iterator[str]:
    """Bound a ranked run's warm-up by its start script's; that script itself needs no other beside it."""
    bounded = any(c.id == WARMUP.id and c.outcome is Outcome.PASSED for c in p.audit.checks)
    if not runs_start_script(p) and not bounded:
        yield "its warm-up was not bounded by its start script's on the same machine (--audit baseline)"


def _time_blockers(p: Predicate) -> Iterator[str]:
    """Refuse a rank to a run that claims more time than it took; results of version 0.1 are as they are."""
    outside = outside_ms(p)
    if p.audit.tier_rules > FIRST_RULES and outside is not None and outside < -1000 * NEGATIVE_ROOM_S:
        yield f"it claims {-outside / 1000:.1f} s more than passed from its start to its last validation line"


def contradictions(predicate: Predicate, submission_sha256: str) -> Iterator[str]:
    """
    Yield what a predicate says twice in two ways; `submission_sha256` is that of the subject.

    Looks at the predicate alone: the stored log is compared in `kit.result.verify`.
    """
    p = predicate
    files = {f.name: f.sha256 for f in p.inputs.submission}
    if len(files) != len(p.inputs.submission) or tree_digest(files) != submission_sha256:
        yield "inputs.submission does not add up to the subject's digest"
    yield from _claims(p)
    yield from _clocks(p)
    verdict = judge(p.run.status, p.claims, p.task.target_val_loss, p.audit.checks)
    if p.score.verdict is not verdict:
        yield f"the verdict is given as {p.score.verdict}, but the rest says {verdict}"
    against = ranking_blockers(p)
    if p.score.ranked and against:
        yield f"it is given as ranked, but {against[0]}"
    if p.score.ranked is bool(p.score.unranked_because):
        yield "ranked and unranked_because contradict each other"


def _claims(p: Predicate) -> Iterator[str]:
    points, claims = p.claims.val_points, p.claims
    if len(points) != len(p.observations.val_point_host_ms):
        yield "there are not as many host stamps as validation points"
    if len(points) > claims.val_points_printed:
        yield "it holds more validation points than were printed"
    last = points[-1] if points else None
    given = (claims.final_step, claims.final_val_loss, claims.train_time_ms)
    if given != ((last.step, last.val_loss, last.train_time_ms) if last else (None, None, None)):
        yield "the final claims are not those of the last validation point"


def _clocks(p: Predicate) -> Iterator[str]:
    observations = p.observations
    order = [list(Phase).index(t.phase) for t in observations.phases]
    if order != sorted(set(order)):
        yield "the phases are not in their order"
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
        yield "it is given as completed, but it did not end by itself with exit code 0"
    if p.run.status in (RunStatus.TIMED_OUT, RunStatus.STALLED) and p.run.clock is None:
        yield f"it is given as {p.run.status}, but no clock is named"

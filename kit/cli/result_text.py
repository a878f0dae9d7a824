"""
Format a verified result for a terminal: first whether to trust it, then its contents.

A line that only the signer vouches for begins with `?`. Each value is shown as one printable line of at most
`kit.core.text.MAX_SHOWN` characters, so that no value can imitate a line of this text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kit.cli.speed import speed_lines
from kit.cli.terminal import megabytes
from kit.cli.untrusted import trust_word
from kit.core.text import counted, one_line, printable
from kit.result.appraisal.trust import assess_tier
from kit.result.predicate import Outcome, Predicate
from kit.result.verify import STEPS, VerifiedBundle
from kit.values.run_result import RunStatus

MAX_POINTS = 12
"""Validation points shown."""
MAX_FILES = 24
"""Files of the submission shown, and reasons against a rank."""
CLAIMED, CHECKED = "?", " "
_LEGEND = "? = claimed by the signer; this command could not check it"


def format_bundle(bundle: VerifiedBundle) -> str:
    """Return the whole text, one paragraph per topic; the first says how far to trust the rest."""
    p = bundle.predicate
    parts = [
        _trust(bundle),
        _result(p),
        _run(bundle),
        _claims(bundle),
        _environment(p),
        _inputs(bundle),
        _audit(p),
    ]
    return "\n\n".join("\n".join(map(printable, part)) for part in parts)


def _row(mark: str, name: str, value: str) -> str:
    return f"{mark} {name:<13} {one_line(value)}"


def _claimed(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, value in rows:
        yield _row(CLAIMED, name, value)


def _mark(bundle: VerifiedBundle) -> str:
    """Return the mark of values compared with the log; a lost run's log may be cut, so it proves nothing."""
    lost = bundle.predicate.run.status is RunStatus.LOST
    return CLAIMED if bundle.unchecked or lost else CHECKED


def _trust(bundle: VerifiedBundle) -> Iterator[str]:
    yield _row(CHECKED, "signed by", f"{bundle.key_id} ({trust_word(bundle)})")
    where = assess_tier(bundle.predicate, bundle.trusted)
    yield _row(CHECKED, "tier", where.tier + (f"; next: {where.missing}" if where.missing else ""))
    if where.said:
        yield _row(CLAIMED, "why", where.said)
    passed = ", ".join(name for number, name in enumerate(STEPS) if number not in bundle.unchecked)
    yield _row(CHECKED, "verified", passed)
    if bundle.unchecked:
        yield _row(CLAIMED, "NOT CHECKED", "the files beside the bundle: submission, guest.log, stamps")
    yield f"  {_LEGEND}"


def _result(p: Predicate) -> Iterator[str]:
    onward = f" -> {p.task.target}" if p.task.target is not None else ""
    yield f"{CLAIMED} record {p.task.id}{onward}, {p.task.profile}: {p.score.verdict.upper()}"
    yield from _claimed([("target", f"{p.task.target_val_loss:.4f}: {p.task.target_source}")])
    if p.score.ranked:
        yield f"{CLAIMED} ranked"
    else:
        yield f"{CLAIMED} UNRANKED"
        reasons = p.score.unranked_because
        yield from (f"{CLAIMED}   because {one_line(reason)}" for reason in reasons[:MAX_FILES])
        yield from _more(len(reasons))
    if p.score.fsr is not None:
        yield from _claimed([("FSR", f"{p.score.fsr:.3f}")])


def _more(count: int) -> Iterator[str]:
    if count > MAX_FILES:
        yield f"{CLAIMED}   ... {count - MAX_FILES} more ..."


def _run(bundle: VerifiedBundle) -> Iterator[str]:
    p = bundle.predicate
    observations = p.observations
    how = f"{p.run.status}: {p.run.reason}" + (f" (in {p.run.ended_in})" if p.run.ended_in else "")
    yield f"{CLAIMED} run {one_line(p.run.id)}"
    left = ", ".join(observations.teardown.remains) or "nothing"
    peak = observations.usage.peak_memory
    commit = f", commit {p.run.kit.commit}" if p.run.kit.commit else ""
    yield from _claimed(
        [
            ("ended", how),
            ("started", p.run.started_at),
            ("command", " ".join(p.run.argv)),
            ("environment", counted(len(p.run.env), "variable")),
            ("kit", f"{p.run.kit.version}{commit}"),
            *(
                (str(t.phase), f"{t.seconds:.1f} s of at most {t.deadline_s:.0f} s")
                for t in observations.phases
            ),
            ("wall time", f"{observations.wall_s:.1f} s"),
            ("peak memory", "not counted" if peak is None else megabytes(peak)),
            ("stopped in", f"{observations.teardown.kill_s:.2f} s; left behind after exit: {left}"),
        ]
    )
    yield _row(_mark(bundle), "output", f"{megabytes(observations.output_bytes)}")


def _claims(bundle: VerifiedBundle) -> Iterator[str]:
    p, mark = bundle.predicate, _mark(bundle)
    compared = "matches guest.log and stamps" if mark == CHECKED else "not compared with guest.log"
    yield f"{mark} loss and time claimed by the script, and time on the host's clock; {compared}"
    yield f"{mark}         step      val loss   train time   host clock"
    rows = list(zip(p.claims.val_points, p.observations.val_point_host_ms, strict=True))
    hidden = len(rows) - MAX_POINTS
    for number, (point, host_ms) in enumerate(rows):
        if hidden > 0 and MAX_POINTS // 2 <= number < MAX_POINTS // 2 + hidden:
            if number == MAX_POINTS // 2:
                yield f"{mark}       ... {hidden} more ..."
            continue
        loss = "not finite" if point.val_loss is None else f"{point.val_loss:.4f}"
        times = f"{_seconds(point.train_time_ms):>11}  {_seconds(host_ms):>11}"
        yield f"{mark} {point.step:>12}  {loss:>12}  {times}"
    trained = p.observations.train_wall_s
    observed = "not observed" if trained is None else f"observed after the warm-up {trained:.1f} s"
    yield f"{CLAIMED} training: claimed {_seconds(p.claims.train_time_ms)}; {observed}"


def _seconds(ms: float | None) -> str:
    return "-" if ms is None else f"{ms / 1000:.1f} s"


def _environment(p: Predicate) -> Iterator[str]:
    where = p.environment
    image = "none (files of the host)" if where.image is None else f"sha256:{where.image.config_digest}"
    digest = p.run.compile_cache_sha256
    gpus = ", ".join(f"{g.name} ({megabytes(g.memory)})" for g in p.hardware.gpus) or "none"
    yield f"{CLAIMED} environment {one_line(where.era)}"
    yield from _claimed(
        [
            ("image", image),
            ("fidelity", ", ".join(f"{name} {level}" for name, level in where.fidelity)),
            ("compile cache", p.run.compile_cache + (f", sha256 {digest}" if digest else "")),
            ("runtime", f"{where.runtime.name} {where.runtime.version}"),
            ("not enforced", ", ".join(where.runtime.not_enforced) or "nothing"),
            (
                "machine",
                f"{p.hardware.cpu.model}, {counted(p.hardware.cpu.cores, 'core')}, "
                f"{megabytes(p.hardware.memory)}",
            ),
            ("GPUs", gpus),
            *(("speed", line) for line in speed_lines(p.hardware.probe or ())),
            ("isolation", str(where.isolation.level)),
        ]
    )
    for check in where.isolation.checks:
        word = "passed" if check.passed else "FAILED"
        yield f"{CLAIMED}   {word:<8} {one_line(check.id)}: {one_line(check.detail)}"


def _inputs(bundle: VerifiedBundle) -> Iterator[str]:
    p, mark = bundle.predicate, CLAIMED if bundle.unchecked else CHECKED
    data = p.inputs.data
    yield f"{mark} inputs"
    for f in p.inputs.submission[:MAX_FILES]:
        yield f"{mark} {one_line(f.name, 80):<13} {megabytes(f.size)}, sha256 {f.sha256}"
    yield from _more(len(p.inputs.submission))
    pinned = "pinned" if data.pinned else "UNPINNED"
    yield from _claimed([("data", f"{data.name}, {counted(len(data.files), 'file')}, {pinned}")])


def _audit(p: Predicate) -> Iterator[str]:
    yield f"{CLAIMED} audit" if p.audit.checks else f"{CLAIMED} audit: no checks ran"
    for check in p.audit.checks:
        word = check.outcome.upper() if check.outcome is Outcome.FAILED else check.outcome.value
        yield f"{CLAIMED}   {word:<8} {one_line(check.id)} ({check.severity}): {one_line(check.detail)}"

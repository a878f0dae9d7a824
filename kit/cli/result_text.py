"""A verified result as text for a terminal. Reads and decides nothing; every value has been verified."""

from __future__ import annotations

from collections.abc import Iterator

from kit.cli.speed import speed_lines
from kit.cli.terminal import megabytes, printable
from kit.result.appraisal.trust import assess_tier
from kit.result.predicate import Outcome, Predicate
from kit.result.verify import VerifiedBundle

MAX_POINTS = 12
"""Validation points that are shown."""


def format_bundle(bundle: VerifiedBundle) -> str:
    """Return the whole text, one topic per paragraph."""
    p = bundle.predicate
    parts = [_head(bundle), _run(p), _claims(p), _environment(p), _inputs(p), _audit(p)]
    return printable("\n\n".join("\n".join(part) for part in parts))


def _rows(rows: list[tuple[str, str]]) -> Iterator[str]:
    for name, value in rows:
        yield f"  {name:<13} {value}"


def _head(bundle: VerifiedBundle) -> Iterator[str]:
    p = bundle.predicate
    target = f" (target {p.task.target_val_loss:.4f}: {p.task.target_source})"
    onward = f" -> {p.task.target}" if p.task.target is not None else ""
    yield f"record {p.task.id}{onward}, {p.task.profile}: {p.score.verdict.upper()}{target}"
    if p.score.ranked:
        yield "ranked"
    else:
        yield "UNRANKED"
        yield from (f"  because {reason}" for reason in p.score.unranked_because)
    where = assess_tier(p, bundle.trusted)
    rows = [
        ("tier", f"{where.tier}" + (f"; next: {where.missing}" if where.missing else "")),
        ("signed by", f"{bundle.key_id} ({'trusted' if bundle.trusted else 'NOT TRUSTED'})"),
    ]
    if bundle.unchecked:
        rows.append(("not checked", "the files beside the bundle"))
    if p.score.fsr is not None:
        rows.append(("FSR", f"{p.score.fsr:.3f}"))
    yield from _rows(rows)


def _run(p: Predicate) -> Iterator[str]:
    observations = p.observations
    how = f"{p.run.status}: {p.run.reason}" + (f" (in {p.run.ended_in})" if p.run.ended_in else "")
    yield f"run {p.run.id}"
    left = ", ".join(observations.teardown.remains) or "nothing"
    memory = (
        "not counted" if observations.usage.peak_memory is None else megabytes(observations.usage.peak_memory)
    )
    yield from _rows(
        [
            ("ended", how),
            ("started", p.run.started_at),
            ("command", " ".join(p.run.argv)),
            *(
                (str(t.phase), f"{t.seconds:.1f} s of at most {t.deadline_s:.0f} s")
                for t in observations.phases
            ),
            ("wall time", f"{observations.wall_s:.1f} s"),
            ("peak memory", memory),
            ("gone after", f"{observations.teardown.kill_s:.2f} s; left behind: {left}"),
        ]
    )


def _claims(p: Predicate) -> Iterator[str]:
    yield "claimed by the guest, and when the host saw it"
    yield "          step      val loss   train time   host clock"
    rows = list(zip(p.claims.val_points, p.observations.val_point_host_ms, strict=True))
    hidden = len(rows) - MAX_POINTS
    for number, (point, host_ms) in enumerate(rows):
        if hidden > 0 and MAX_POINTS // 2 <= number < MAX_POINTS // 2 + hidden:
            if number == MAX_POINTS // 2:
                yield f"        ... {hidden} more ..."
            continue
        loss = "not finite" if point.val_loss is None else f"{point.val_loss:.4f}"
        yield f"  {point.step:>12}  {loss:>12}  {_seconds(point.train_time_ms):>11}  {_seconds(host_ms):>11}"
    trained = p.observations.train_wall_s
    observed = "not observed" if trained is None else f"observed from the end of the warm-up {trained:.1f} s"
    yield f"  training: claimed {_seconds(p.claims.train_time_ms)}; {observed}"


def _seconds(ms: float | None) -> str:
    return "-" if ms is None else f"{ms / 1000:.1f} s"


def _environment(p: Predicate) -> Iterator[str]:
    where = p.environment
    image = "the machine's own files" if where.image is None else f"sha256:{where.image.config_digest}"
    gpus = ", ".join(f"{g.name} ({megabytes(g.memory)})" for g in p.hardware.gpus) or "none"
    yield f"environment {where.era}"
    yield from _rows(
        [
            ("image", image),
            ("fidelity", ", ".join(f"{name} {level}" for name, level in where.fidelity)),
            ("runtime", f"{where.runtime.name} {where.runtime.version}"),
            ("not enforced", ", ".join(where.runtime.not_enforced) or "nothing"),
            (
                "machine",
                f"{p.hardware.cpu.model}, {p.hardware.cpu.cores} cores, {megabytes(p.hardware.memory)}",
            ),
            ("GPUs", gpus),
            *(("speed", line) for line in speed_lines(p.hardware.probe or ())),
            ("isolation", str(where.isolation.level)),
        ]
    )
    for check in where.isolation.checks:
        yield f"    {'passed' if check.passed else 'FAILED':<8} {check.id}: {check.detail}"


def _inputs(p: Predicate) -> Iterator[str]:
    data = p.inputs.data
    yield "inputs"
    yield from _rows(
        [
            *((f.name, f"{megabytes(f.size)}, sha256 {f.sha256}") for f in p.inputs.submission),
            ("data", f"{data.name}, {len(data.files)} files, {'pinned' if data.pinned else 'UNPINNED'}"),
        ]
    )


def _audit(p: Predicate) -> Iterator[str]:
    yield "audit" if p.audit.checks else "audit: no check ran"
    for check in p.audit.checks:
        word = check.outcome.upper() if check.outcome is Outcome.FAILED else check.outcome.value
        yield f"    {word:<8} {check.id} ({check.severity}): {check.detail}"

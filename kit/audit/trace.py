"""
`trace.*`: the guest's claims against themselves and against the host's stamps.

Cannot see: a script that trains during its warm-up and replays lines afterwards at the right pace, or one
whose claimed loss is false but plausible.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from kit.audit.finding import Finding, Outcome, Severity
from kit.run.result import Point

AHEAD_S = 1.0
"""How far the guest's clock may run ahead of the host's; pipes and rounding take less."""


def monotone(points: Sequence[Point]) -> Finding:
    """Steps must rise from one validation line to the next, and the claimed time must not fall."""
    for before, after in pairwise(points):
        if after.step <= before.step:
            return _fatal("trace.monotone", f"step {after.step} was printed after step {before.step}")
        restarted = before.step == 0  # the clock is set to zero once, after the untimed steps
        times = before.train_time_ms, after.train_time_ms
        if times[0] is not None and times[1] is not None and times[1] < times[0] and not restarted:
            return _fatal("trace.monotone", f"train_time fell from {times[0]} ms to {times[1]} ms")
    return Finding(
        "trace.monotone", Severity.FATAL, Outcome.PASSED, f"{len(points)} validation lines in order"
    )


def clock(points: Sequence[Point]) -> Finding:
    """Between two validation lines the guest's clock must not gain on the host's."""
    worst = 0.0
    claimed_s = 0.0
    host_s = 0.0
    for before, after in pairwise(points):
        if (
            None in (before.host_ns, after.host_ns, before.train_time_ms, after.train_time_ms)
            or before.step == 0
        ):
            continue
        assert before.host_ns is not None and after.host_ns is not None  # noqa: S101 - narrowed above
        assert before.train_time_ms is not None and after.train_time_ms is not None  # noqa: S101
        host = (after.host_ns - before.host_ns) / 1e9
        said = (after.train_time_ms - before.train_time_ms) / 1e3
        worst = max(worst, said - host)
        claimed_s += said
        host_s += host
    figures = (("claimed_s", claimed_s), ("host_s", host_s), ("worst_gain_s", worst))
    if host_s == 0.0:
        return Finding(
            "trace.clock", Severity.FATAL, Outcome.SKIPPED, "fewer than two timed validation lines"
        )
    if worst > AHEAD_S:
        detail = f"the guest's clock gained {worst:.1f} s on the host's between two lines"
        return Finding("trace.clock", Severity.FATAL, Outcome.FAILED, detail, figures)
    detail = f"the guest claims {claimed_s:.1f} s of the host's {host_s:.1f} s between its validation lines"
    return Finding("trace.clock", Severity.FATAL, Outcome.PASSED, detail, figures)


def _fatal(check: str, detail: str) -> Finding:
    return Finding(check, Severity.FATAL, Outcome.FAILED, detail)

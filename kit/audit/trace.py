"""
`trace.*`: check the guest's claims for consistency and against the host's time stamps.

`points` are all claims in order of arrival: training lines (`val_loss` is None) and validation lines. Checks
that need a clock or stamps are skipped if the log has none.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from kit.audit import clocks
from kit.audit.check import Check
from kit.audit.finding import Finding, Severity
from kit.values.run_result import Point

AHEAD_S = 1.0
"""Seconds that the guest's clock may gain on the host's between two lines: a pipe may delay a line."""
BEHIND_S = 1.0
"""Seconds that it may fall behind between two lines, for the same reason, in addition to `BEHIND_SHARE`."""
BEHIND_SHARE = 0.01
"""
Share of the host's time that it may fall behind. A script stops its clock milliseconds before it prints a
loss and starts it milliseconds later; two clocks of one machine differ by 0.05 % at most.
"""
BEHIND_IN_ALL_S = 0.5
"""Seconds that it may fall behind over the whole run, in addition to the share; late stamps are ignored."""
FIRST_LOSS_BELOW = 0.7
"""Nats below ln(vocabulary) from which a first loss suggests pretrained weights."""
SURGE = 2.0
"""Allowed ratio of the last drop to the largest drop since the second line."""
LAG_FIGURE = "lag_s"

_FALSE_FIGURES = "a loss that is false but plausible"

MONOTONE = Check(
    "trace.monotone", Severity.FATAL,
    "steps that do not increase, times that decrease, mixed lines of two runs or two ranks", _FALSE_FIGURES,
)  # fmt: skip
CLOCK = Check(
    "trace.clock", Severity.FATAL,
    "a guest clock that runs faster than the host's between any two lines: replayed lines, "
    "or more claimed time than the run took",
    "lines replayed at the speed that they claim",
)  # fmt: skip
PACE = Check(
    "trace.pace", Severity.FATAL,
    "a guest clock that falls behind the host's between any two lines or in total, validations excepted",
    "time hidden in a validation or before the first timed step (see `baseline.*`)",
)  # fmt: skip
FIRST_LOSS = Check(
    "trace.first_loss", Severity.FATAL,
    "a first loss well below ln(vocabulary): pretrained weights",
    "pretrained weights behind an output layer that is set to zero",
)  # fmt: skip
CADENCE = Check(
    "trace.cadence", Severity.WARNING,
    "validation at irregular steps, missing or repeated training lines", _FALSE_FIGURES,
)  # fmt: skip
SHAPE = Check(
    "trace.shape", Severity.WARNING,
    "a loss that does not change, or drops sharply on the last line",
    "a false curve with a realistic shape",
)  # fmt: skip


def monotone(points: Sequence[Point], untimed_steps: int = 0) -> Finding:
    """
    Check that steps increase between lines of one kind and never decrease, and that the time never decreases.

    The time may drop at the end of the untimed steps: there the script resets its clock.
    """
    val = _validations(points)
    for kind in (val, [p for p in points if p.val_loss is None]):
        for before, after in pairwise(kind):
            if after.step <= before.step:
                return MONOTONE.failed(f"step {after.step} was printed after step {before.step}")
    for before, after in pairwise(points):
        if after.step < before.step:
            return MONOTONE.failed(f"step {after.step} was printed after step {before.step}")
    timed = [(p.step, p.train_time_ms) for p in points if p.train_time_ms is not None]
    for (step, before_ms), (_, after_ms) in pairwise(timed):
        if after_ms < before_ms and step > untimed_steps:
            return MONOTONE.failed(f"train_time decreased from {before_ms} ms to {after_ms} ms")
    return MONOTONE.passed(
        f"{len(val)} validation lines and {len(points) - len(val)} training lines in order"
    )


def clock(points: Sequence[Point], untimed_steps: int = 0) -> Finding:
    """
    Check that the guest's clock never runs faster than the host's between two lines, from the guest's start.

    A reset of the clock at the end of the untimed steps is not a gain.
    """
    highest_s = worst_s = 0.0
    for lead_s in clocks.leads(points):
        worst_s = max(worst_s, highest_s - lead_s)
        highest_s = max(highest_s, lead_s)
    if worst_s > AHEAD_S:
        return CLOCK.failed(
            f"the guest's clock gained {worst_s:.1f} s on the host's clock between two lines",
            worst_gain_s=worst_s,
        )
    timed = clocks.readings(p for p in points if p.step > untimed_steps)
    first = next(timed, None)
    last = next(iter(deque(timed, maxlen=1)), None)
    if first is None or last is None:
        return CLOCK.skipped("fewer than two timed lines with both clocks")
    claimed_s, host_s = last.claimed_s - first.claimed_s, last.host_s - first.host_s
    figures = {"claimed_s": claimed_s, "host_s": host_s, "worst_gain_s": worst_s}
    detail = (
        f"the guest's clock shows {claimed_s:.1f} s between the timed lines, the host's clock {host_s:.1f} s"
    )
    return CLOCK.passed(detail, **figures)


def pace(points: Sequence[Point], untimed_steps: int, training_every: int = 1) -> Finding:
    """
    Check that the guest's clock keeps up with the host's after the untimed steps, validations excepted.

    The figure `lag_s` is the time that the guest's clock misses; readers add it to the run's time.
    """
    lines = clocks.follow(points, untimed_steps, training_every)
    if len(lines) < 2 or all(p.val_loss is not None for p in points):
        return PACE.skipped("fewer than two timed lines, or no training line")
    lowest_s, worst_s = math.inf, 0.0
    for line in lines:
        allowed_s = line.lag_s - BEHIND_SHARE * line.trained_s
        lowest_s = min(lowest_s, allowed_s)
        worst_s = max(worst_s, allowed_s - lowest_s)
    host_s, lag_s = lines[-1].trained_s, clocks.settled_lag_s(lines)
    figures = {
        "claimed_s": host_s - lines[-1].lag_s,
        "host_s": host_s,
        LAG_FIGURE: lag_s,
        "worst_lag_s": worst_s,
    }
    if worst_s > BEHIND_S:
        detail = f"the guest's clock fell {worst_s:.1f} s behind the host's (beyond 1 %) between two lines"
        return PACE.failed(detail, **figures)
    if lag_s > BEHIND_IN_ALL_S + BEHIND_SHARE * host_s:
        detail = f"training took {host_s:.1f} s, but the guest's clock misses {lag_s:.1f} s of it"
        return PACE.failed(detail, **figures)
    return PACE.passed(f"the guest's clock misses {lag_s:.2f} s of {host_s:.1f} s", **figures)


def first_loss(points: Sequence[Point], vocabulary: int) -> Finding:
    """Check that the loss at step 0 is near ln(vocabulary), as for untrained weights."""
    val = _validations(points)
    expected = math.log(vocabulary)
    if not val or val[0].step != 0 or val[0].val_loss is None or not math.isfinite(val[0].val_loss):
        return FIRST_LOSS.skipped("no loss at step 0", expected=expected)
    loss = val[0].val_loss
    if loss < expected - FIRST_LOSS_BELOW:
        detail = f"the loss at step 0 is {loss:.4f}; untrained weights give about {expected:.3f}"
        return FIRST_LOSS.failed(detail, expected=expected, first_loss=loss)
    detail = f"the loss at step 0 is {loss:.4f}, ln(vocabulary) is {expected:.3f}"
    return FIRST_LOSS.passed(detail, expected=expected, first_loss=loss)


def cadence(points: Sequence[Point]) -> Finding:
    """Check that validation lines are evenly spaced, and that no training line is missing or repeated."""
    val = _validations(points)
    gaps = [after.step - before.step for before, after in pairwise(val)]
    if not gaps:
        return CADENCE.skipped("fewer than two validation lines")
    if len(set(gaps[:-1])) > 1 or gaps[-1] > gaps[0]:
        return CADENCE.failed(f"steps between validation lines vary: {', '.join(map(str, gaps[:12]))}")
    steps = [p.step for p in points if p.val_loss is None]
    stride = steps[1] - steps[0] if len(steps) > 1 else 1
    odd = next(((a, b) for a, b in pairwise(steps) if b - a != stride), None)
    if odd:
        return CADENCE.failed(f"the training line of step {odd[1]} comes directly after step {odd[0]}")
    return CADENCE.passed(f"a validation line every {gaps[0]} steps, {len(steps)} training lines")


def shape(points: Sequence[Point]) -> Finding:
    """Check that the loss changes and, with four losses or more, that the last drop is not an outlier."""
    losses = [
        p.val_loss for p in _validations(points) if p.val_loss is not None and math.isfinite(p.val_loss)
    ]
    if len(losses) < 2:
        return SHAPE.skipped("fewer than two validation lines with a loss")
    falls = [a - b for a, b in pairwise(losses)]
    if max(losses) - min(losses) < 0.01:
        return SHAPE.failed(f"the loss stays between {min(losses):.4f} and {max(losses):.4f}")
    if len(losses) < 4:
        return SHAPE.passed(f"the loss changes from {losses[0]:.4f} to {losses[-1]:.4f}")
    before = max(0.0, *falls[1:-1])
    figures = {"last_fall": falls[-1], "largest_before": before}
    if falls[-1] > SURGE * before + 0.1:
        detail = f"the loss drops by {falls[-1]:.3f} on the last line, by at most {before:.3f} before"
        return SHAPE.failed(detail, **figures)
    return SHAPE.passed(
        f"the last drop is {falls[-1]:.3f}, the largest earlier drop is {before:.3f}", **figures
    )


def judge(
    points: Sequence[Point], untimed_steps: int, vocabulary: int, training_every: int = 1
) -> tuple[Finding, ...]:
    """Run every check of this module on all claims of one run."""
    return (
        clock(points, untimed_steps),
        pace(points, untimed_steps, training_every),
        monotone(points, untimed_steps),
        first_loss(points, vocabulary),
        cadence(points),
        shape(points),
    )


def _validations(points: Sequence[Point]) -> list[Point]:
    return [p for p in points if p.val_loss is not None]

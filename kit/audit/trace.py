"""
`trace.*`: the guest's claims against themselves and against the host's stamps. Knows nothing of the code.

Points are all claims in the order of their arrival: training lines, whose `val_loss` is None, and validation
lines. Where the grammar has no clock, or a file has no stamps, the checks that need them are skipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from kit.audit.check import Check
from kit.audit.finding import Finding, Severity
from kit.values.run_result import Point

AHEAD_S = 1.0
"""How far the guest's clock may run ahead of the host's; pipes and rounding take less."""
SLOW = 0.9
"""Share of the host's time between training lines that the guest's clock must show."""
FIRST_LOSS_BELOW = 0.7
"""Nats below ln(vocabulary) where the first loss starts to look like training that came before."""
SURGE = 2.0
"""How much larger than every drop since the second line the last one may be."""

_FALSE_FIGURES = "a claimed loss that is false but plausible"

MONOTONE = Check(
    "trace.monotone", Severity.FATAL,
    "steps that do not rise, times that fall, lines of two runs or two ranks mixed", _FALSE_FIGURES,
)  # fmt: skip
CLOCK = Check(
    "trace.clock", Severity.FATAL,
    "a guest's clock that gains on the host's: lines replayed faster than they claim",
    "lines that are replayed at the pace that they claim",
)  # fmt: skip
PACE = Check(
    "trace.pace", Severity.FATAL,
    "a guest's clock that is slower than the host's while steps are being taken",
    "time that is hidden in the validation or before the first timed step (see `baseline.*`)",
)  # fmt: skip
FIRST_LOSS = Check(
    "trace.first_loss", Severity.FATAL,
    "a first loss that is well below ln(vocabulary): weights that were trained before",
    "trained weights behind an output layer that is set to zero first",
)  # fmt: skip
CADENCE = Check(
    "trace.cadence", Severity.WARNING,
    "validation at irregular steps, training lines that are left out or repeated", _FALSE_FIGURES,
)  # fmt: skip
SHAPE = Check(
    "trace.shape", Severity.WARNING,
    "a loss that does not move, and one that surges on the last line",
    "a false curve that is shaped like a true one",
)  # fmt: skip


def monotone(points: Sequence[Point], untimed_steps: int = 0) -> Finding:
    """
    Steps must rise from one validation line to the next, and the claimed time must not fall.

    It may fall once the untimed steps are over: there the clock is set to zero.
    """
    val = _validations(points)
    for before, after in pairwise(val):
        if after.step <= before.step:
            return MONOTONE.failed(f"step {after.step} was printed after step {before.step}")
        restarted = before.step <= untimed_steps
        times = before.train_time_ms, after.train_time_ms
        if times[0] is not None and times[1] is not None and times[1] < times[0] and not restarted:
            return MONOTONE.failed(f"train_time fell from {times[0]} ms to {times[1]} ms")
    return MONOTONE.passed(f"{len(val)} validation lines in order")


def clock(points: Sequence[Point], untimed_steps: int = 0) -> Finding:
    """Between two validation lines the guest's clock must not gain on the host's."""
    worst = claimed_s = host_s = 0.0
    timed = 0
    for before, after in pairwise(_validations(points)):
        took = _took(before, after)
        if took is None or before.step <= untimed_steps:
            continue
        guest_gap_s, host_gap_s = took
        timed += 1
        worst = max(worst, guest_gap_s - host_gap_s)
        claimed_s += guest_gap_s
        host_s += host_gap_s
    if not timed:
        return CLOCK.skipped("fewer than two timed validation lines")
    figures = {"claimed_s": claimed_s, "host_s": host_s, "worst_gain_s": worst}
    if worst > AHEAD_S:
        return CLOCK.failed(
            f"the guest's clock gained {worst:.1f} s on the host's between two lines", **figures
        )
    detail = f"the guest claims {claimed_s:.1f} s of the host's {host_s:.1f} s between its validation lines"
    return CLOCK.passed(detail, **figures)


def pace(points: Sequence[Point], untimed_steps: int) -> Finding:
    """
    Between training lines with no validation among them, the guest's clock must keep up with the host's.

    Steps up to `untimed_steps` + 1 are left out: there the clock is set to zero.
    """
    said_s = host_s = 0.0
    timed = 0
    for before, after in pairwise(points):
        if before.val_loss is not None or after.val_loss is not None or before.step <= untimed_steps:
            continue
        took = _took(before, after)
        if took is not None:
            timed += 1
            said_s += took[0]
            host_s += took[1]
    if not timed:
        return PACE.skipped("no two timed training lines in a row")
    figures = {"claimed_s": said_s, "host_s": host_s}
    if said_s < SLOW * host_s - AHEAD_S:
        detail = f"between training lines {host_s:.1f} s went by, of which the guest shows {said_s:.1f} s"
        return PACE.failed(detail, **figures)
    return PACE.passed(f"between training lines the guest claims {said_s:.1f} s of {host_s:.1f} s", **figures)


def first_loss(points: Sequence[Point], vocabulary: int) -> Finding:
    """The loss at step 0 must be near ln(vocabulary), as it is for weights that know nothing."""
    val = _validations(points)
    expected = math.log(vocabulary)
    if not val or val[0].step != 0 or val[0].val_loss is None or not math.isfinite(val[0].val_loss):
        return FIRST_LOSS.skipped("there is no loss at step 0", expected=expected)
    loss = val[0].val_loss
    if loss < expected - FIRST_LOSS_BELOW:
        detail = f"the loss at step 0 is {loss:.4f}; of weights that know nothing it is near {expected:.3f}"
        return FIRST_LOSS.failed(detail, expected=expected, first_loss=loss)
    detail = f"the loss at step 0 is {loss:.4f}, ln(vocabulary) is {expected:.3f}"
    return FIRST_LOSS.passed(detail, expected=expected, first_loss=loss)


def cadence(points: Sequence[Point]) -> Finding:
    """Validation lines come every so many steps, and no training line is missing or repeated."""
    val = _validations(points)
    gaps = [after.step - before.step for before, after in pairwise(val)]
    if len(gaps) < 2:
        return CADENCE.skipped("fewer than three validation lines")
    if len(set(gaps[:-1])) > 1 or gaps[-1] > gaps[0]:
        return CADENCE.failed(f"validation lines come after {', '.join(map(str, gaps[:12]))} steps")
    steps = [p.step for p in points if p.val_loss is None]
    stride = steps[1] - steps[0] if len(steps) > 1 else 1
    odd = next(((a, b) for a, b in pairwise(steps) if b - a != stride), None)
    if odd:
        return CADENCE.failed(f"the training line of step {odd[1]} follows that of step {odd[0]}")
    return CADENCE.passed(f"a validation line every {gaps[0]} steps, {len(steps)} training lines")


def shape(points: Sequence[Point]) -> Finding:
    """The loss must move, and its last fall must not dwarf those before it."""
    losses = [
        p.val_loss for p in _validations(points) if p.val_loss is not None and math.isfinite(p.val_loss)
    ]
    if len(losses) < 4:
        return SHAPE.skipped("fewer than four validation lines with a loss")
    falls = [a - b for a, b in pairwise(losses)]
    if max(losses) - min(losses) < 0.01:
        return SHAPE.failed(f"the loss stays within {min(losses):.4f} and {max(losses):.4f}")
    before = max(0.0, *falls[1:-1])
    figures = {"last_fall": falls[-1], "largest_before": before}
    if falls[-1] > SURGE * before + 0.1:
        detail = (
            f"the loss falls by {falls[-1]:.3f} on the last line, by at most {before:.3f} on those before"
        )
        return SHAPE.failed(detail, **figures)
    return SHAPE.passed(f"the last fall is {falls[-1]:.3f}, the largest before it {before:.3f}", **figures)


def judge(points: Sequence[Point], untimed_steps: int, vocabulary: int) -> tuple[Finding, ...]:
    """Run every check of this module on all claims of one run."""
    return (
        clock(points, untimed_steps),
        pace(points, untimed_steps),
        monotone(points, untimed_steps),
        first_loss(points, vocabulary),
        cadence(points),
        shape(points),
    )


def _validations(points: Sequence[Point]) -> list[Point]:
    return [p for p in points if p.val_loss is not None]


def _took(before: Point, after: Point) -> tuple[float, float] | None:
    """Return seconds between two claims: as the guest says, and on the host's clock."""
    if before.host_ns is None or after.host_ns is None:
        return None
    if before.train_time_ms is None or after.train_time_ms is None:
        return None
    return (after.train_time_ms - before.train_time_ms) / 1e3, (after.host_ns - before.host_ns) / 1e9

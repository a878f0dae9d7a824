"""A run that earns a tier loses it, or keeps its time, whatever is dropped, thinned, delayed or shortened."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seeds import press
from simulated_run import Script, honest, result_of, timings_of

from kit.audit.trace import BEHIND_IN_ALL_S, BEHIND_S, BEHIND_SHARE
from kit.result.appraisal.timing import counted_time
from kit.result.appraisal.trust import (
    CANARY_PASSED,
    FLOOR,
    HELD_OUT_PASSED,
    Tier,
    assess_tier,
    missing_evidence,
)
from kit.result.predicate import Verdict
from kit.values.cadence import Cadence
from kit.values.run_result import Point

ASSETS = press().HERE
PLAIN = press().MAKE.predicate(ASSETS)
ORDER = list(Tier)
OTHERS = {
    Tier.SCREENED: (),
    Tier.CANARY: (*CANARY_PASSED, FLOOR),
    Tier.CANARY_HELD_OUT: (*CANARY_PASSED, FLOOR, *HELD_OUT_PASSED),
}
CADENCE = Cadence(training_every=1, validation_every=20, validates_start=True, guest_clock=True)
THOROUGH = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Points = tuple[Point, ...]


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    clock = draw(st.booleans())
    return Script(
        total=draw(st.integers(60, 160)),
        step_s=draw(st.floats(0.2, 1.5)),
        validates_every=draw(st.sampled_from([5, 10, 20, 40])),
        validation_s=draw(st.floats(0.1, 4.0)),
        queued_s=draw(st.sampled_from([0.0, 0.1, 0.4])),
        untimed=10 if clock else 0,
        start_s=draw(st.floats(1.0, 20.0)),
        compile_s=draw(st.floats(0.0, 60.0)),
        late_s=draw(st.sampled_from([0.0, 0.16])),  # the most that was seen, on a machine with load 14
        clock=clock,
    )


def _at(draw: st.DrawFn, points: Points) -> int:
    return draw(st.integers(0, max(0, len(points) - 1)))


def drop(draw: st.DrawFn, points: Points) -> Points:
    kind = draw(st.sampled_from(["any", "training", "validation"]))
    gone = draw(st.sets(st.integers(0, max(0, len(points) - 1)), max_size=len(points)))
    few = draw(st.booleans())
    gone = set(sorted(gone)[:2]) if few else gone
    of_kind = {"any": (True, False), "training": (False,), "validation": (True,)}[kind]
    return tuple(p for n, p in enumerate(points) if n not in gone or (p.val_loss is not None) not in of_kind)


def drop_all(draw: st.DrawFn, points: Points) -> Points:
    validations = draw(st.booleans())
    return tuple(p for p in points if (p.val_loss is None) is validations or p is points[-1])


def thin(draw: st.DrawFn, points: Points) -> Points:
    every, only_training = draw(st.integers(2, 50)), draw(st.booleans())
    return tuple(
        p for n, p in enumerate(points) if n % every == 0 or (only_training and p.val_loss is not None)
    )


def cut(draw: st.DrawFn, points: Points) -> Points:
    begin, end = sorted((_at(draw, points), _at(draw, points)))
    return draw(st.sampled_from([points[:end], points[begin:], points[:begin] + points[end:]]))


def delay(draw: st.DrawFn, points: Points) -> Points:
    begin, end = sorted((_at(draw, points), _at(draw, points)))
    by = round(1e9 * draw(st.one_of(st.floats(0.0, 1.0), st.floats(0.0, 100.0))))
    end = draw(st.sampled_from([end, len(points)]))
    late = tuple(
        replace(p, host_ns=(p.host_ns or 0) + (by if begin <= n < end else 0)) for n, p in enumerate(points)
    )
    return tuple(sorted(late, key=lambda p: p.host_ns or 0))


def burst(draw: st.DrawFn, points: Points) -> Points:
    begin, end = sorted((_at(draw, points), _at(draw, points)))
    held = points[end].host_ns if points else 0
    return tuple(replace(p, host_ns=held) if begin <= n < end else p for n, p in enumerate(points))


def shorten(draw: st.DrawFn, points: Points) -> Points:
    begin, end = sorted((_at(draw, points), _at(draw, points)))
    begin, end = draw(st.sampled_from([(begin, end), (begin, len(points)), (0, len(points))]))
    factor = draw(st.one_of(st.floats(0.9, 1.0), st.floats(0.0, 1.0)))
    if not points or begin >= end or points[0].train_time_ms is None:
        return points
    base, out, lost = points[begin].train_time_ms or 0, [], 0
    for n, p in enumerate(points):
        ms = p.train_time_ms or 0
        if begin <= n < end and ms >= base:
            lost = ms - round(base + factor * (ms - base))
        out.append(replace(p, train_time_ms=max(0, ms - lost) if n >= begin else ms))
    return tuple(out)


def twice(draw: st.DrawFn, points: Points) -> Points:
    at = _at(draw, points)
    return points[: at + 1] + points[at:]


CHANGES = (drop, drop, drop_all, thin, cut, delay, burst, shorten, shorten, twice)


@THOROUGH
@given(st.data(), scripts(), st.sampled_from(list(OTHERS)), st.booleans(), st.integers(0, 9))
def test_no_part_of_a_run_has_a_higher_tier_or_a_shorter_time_than_the_whole(
    data, script, tier, compared, seed
):
    cadence = replace(CADENCE, guest_clock=script.clock)
    script = script if compared else replace(script, queued_s=0.0)  # what it hides there is overhead
    points = honest(script, seed)
    start = timings_of(honest(replace(script, late_s=0.0)), script.untimed) if compared else None
    whole = result_of(PLAIN, points, cadence, script.untimed, start, OTHERS[tier])
    assert assess_tier(whole, trusted=True).tier is tier, assess_tier(whole, trusted=True).missing
    changed = points
    for _ in range(data.draw(st.integers(1, 3))):
        changed = data.draw(st.sampled_from(CHANGES))(data.draw, changed)
    part = result_of(PLAIN, changed, cadence, script.untimed, start, OTHERS[tier])
    found = assess_tier(part, trusted=True)
    assert ORDER.index(found.tier) <= ORDER.index(tier)
    if sum(p.val_loss is None for p in changed) < sum(p.val_loss is None for p in points):
        assert found.tier is Tier.SELF_REPORTED and missing_evidence(part)
    if found.tier is not Tier.SELF_REPORTED and part.score.verdict in (Verdict.REACHED, Verdict.MISSED):
        before, after = counted_time(whole), counted_time(part)
        assert before is not None and after is not None
        trained_s = script.total * script.step_s
        tolerance_s = BEHIND_S + BEHIND_IN_ALL_S + BEHIND_SHARE * trained_s
        assert after.total >= before.total - 1000 * tolerance_s, (before, after)


@THOROUGH
@given(scripts(), st.floats(0.0, 0.95), st.integers(0, 9))
def test_a_clock_that_is_slow_by_a_twentieth_earns_nothing(script, factor, seed):
    script = replace(script, clock=True, untimed=10, step_s=max(script.step_s, 0.4))
    points = tuple(
        replace(p, train_time_ms=round((p.train_time_ms or 0) * factor)) for p in honest(script, seed)
    )
    found = assess_tier(result_of(PLAIN, points, CADENCE, script.untimed), trusted=True)
    assert found.tier is Tier.SELF_REPORTED and "trace.pace" in found.missing


@THOROUGH
@given(scripts(), st.integers(0, 9))
def test_an_honest_run_earns_its_tier_and_its_time_is_its_own(script, seed):
    cadence = replace(CADENCE, guest_clock=script.clock)
    points = honest(script, seed)
    found = result_of(PLAIN, points, cadence, script.untimed, None, OTHERS[Tier.CANARY_HELD_OUT])
    assert assess_tier(found, trusted=True).tier is Tier.CANARY_HELD_OUT
    time = counted_time(found)
    assert time is not None and time.untimed_overhead is None
    if not script.clock:
        assert time.claimed == (points[-1].host_ns or 0) / 1e6
    else:
        assert time.claimed == pytest.approx(points[-1].train_time_ms, abs=40 + 3000 * script.late_s)

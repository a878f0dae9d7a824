"""Which lines a run owes, and what a clock may show beside the host's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_run import VOCABULARY, Script, honest

from kit.audit import baseline, evidence, trace
from kit.audit.baseline import RunTimings
from kit.audit.finding import Outcome
from kit.values.cadence import Cadence
from kit.values.run_result import Point

CADENCE = Cadence(training_every=1, validation_every=20, validates_start=True, guest_clock=True)
SCRIPT = Script()
WHOLE = honest(SCRIPT)


def failed(points, cadence=CADENCE):
    """Ids of the checks that failed."""
    findings = (*evidence.judge(points, cadence), *trace.judge(points, SCRIPT.untimed, VOCABULARY))
    return {f.id for f in findings if f.outcome is Outcome.FAILED}


def slowed(points, factor, begin=0, end=10**9):
    """The same lines with a guest's clock that is slower between two steps."""
    out, before, spent = [], 0, 0.0
    for p in points:
        gap = p.train_time_ms - before
        before = p.train_time_ms
        rate = factor if begin < p.step <= end else 1.0
        spent = rate * p.train_time_ms if gap < 0 else spent + rate * gap
        out.append(replace(p, train_time_ms=round(spent)))
    return tuple(out)


def test_an_honest_run_passes_every_check():
    for script in (SCRIPT, replace(SCRIPT, queued_s=0.4), replace(SCRIPT, validates_every=40, late_s=0.4)):
        findings = (*evidence.judge(honest(script), CADENCE), *trace.judge(honest(script), 10, VOCABULARY))
        assert {f.outcome for f in findings} == {Outcome.PASSED}, findings


@pytest.mark.parametrize("step", [1, 37, 60, 120])
def test_one_missing_training_line_fails_wherever_it_is(step):
    points = [p for p in WHOLE if p.step != step or p.val_loss is not None]
    found = evidence.training_lines(points, CADENCE)
    assert found.outcome is Outcome.FAILED and found.detail.endswith(f"the first at step {step}")


def test_no_training_line_at_all_fails():
    assert "evidence.training_lines" in failed([p for p in WHOLE if p.val_loss is not None])


@pytest.mark.parametrize(
    "change",
    [
        lambda points: points[:30] + points[29:],
        lambda points: points[:30] + points[31:] + points[30:31],
        lambda points: (*points[:-2], points[-1], points[-2]),
        lambda points: tuple(sorted(points, key=lambda p: p.val_loss is None)),
    ],
)
def test_a_training_line_twice_or_after_its_validation_fails(change):
    assert evidence.training_lines(change(WHOLE), CADENCE).outcome is Outcome.FAILED


def test_more_lines_than_owed_are_allowed_and_a_wider_stride_asks_for_fewer():
    often = honest(replace(SCRIPT, validates_every=5))
    assert failed(often) == set()
    sparse = replace(CADENCE, training_every=10)
    assert evidence.training_lines(WHOLE, sparse).outcome is Outcome.PASSED
    tenth = [p for p in WHOLE if p.val_loss is not None or p.step % 10 == 0]
    assert evidence.training_lines(tenth, sparse).outcome is Outcome.PASSED
    assert evidence.training_lines(tenth, CADENCE).outcome is Outcome.FAILED
    assert trace.pace(tenth, 10, 10).outcome is Outcome.PASSED


def test_a_far_step_costs_nothing_to_judge():
    far = [Point(0, 999_999_999, 10.8, 0, 1), Point(999_999_999, 999_999_999, 3.2, 1, 2)]
    assert evidence.training_lines(far, CADENCE).detail.startswith("999999999 of 999999999")


@pytest.mark.parametrize(
    ("every", "outcome"), [(40, Outcome.PASSED), (60, Outcome.FAILED), (120, Outcome.FAILED)]
)
def test_validation_may_be_half_as_frequent_as_the_start_scripts(every, outcome):
    assert (
        evidence.validation_lines(honest(replace(SCRIPT, validates_every=every)), CADENCE).outcome is outcome
    )


def test_step_0_must_be_validated_where_the_start_script_does():
    late = [p for p in WHOLE if p.step]
    assert evidence.validation_lines(late, CADENCE).outcome is Outcome.FAILED
    without = replace(CADENCE, validates_start=False)
    assert evidence.validation_lines(late, without).outcome is Outcome.PASSED


def test_a_run_that_ended_early_is_no_cheat_and_earns_nothing():
    half = WHOLE[:70]
    assert failed(half) == set()
    found = evidence.last_step(half)
    assert found.outcome is Outcome.SKIPPED and "of 120" in found.detail


@pytest.mark.parametrize(
    "change",
    [
        lambda p: replace(p, total_steps=60) if p.step > 60 else p,
        lambda p: replace(p, total_steps=100),
    ],
)
def test_steps_must_be_those_of_one_announced_total(change):
    found = evidence.last_step([change(p) for p in WHOLE])
    assert found.outcome is Outcome.FAILED, found.detail


def test_a_script_without_a_clock_is_timed_by_the_host_alone():
    classic = replace(CADENCE, guest_clock=False)
    points = honest(replace(SCRIPT, clock=False, untimed=0))
    assert evidence.times(points, classic).outcome is Outcome.PASSED
    assert evidence.times(points, CADENCE).outcome is Outcome.FAILED
    unstamped = [replace(p, host_ns=None) for p in points]
    assert evidence.times(unstamped, classic).outcome is Outcome.FAILED


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.9, 0.95])
def test_a_clock_that_is_slow_everywhere_fails(factor):
    assert failed(slowed(WHOLE, factor)) == {"trace.pace"}


@pytest.mark.parametrize(("begin", "end"), [(40, 60), (61, 80), (100, 120), (10, 14)])
def test_a_clock_that_is_slow_between_two_validations_only_fails(begin, end):
    assert failed(slowed(WHOLE, 0.25, begin, end)) == {"trace.pace"}


def test_time_between_a_validation_line_and_the_next_training_line_is_the_runs_own():
    points = [replace(p, host_ns=p.host_ns + 2 * 10**9 * (p.step > 60)) for p in WHOLE]
    assert failed(points) == {"trace.pace"}


def test_work_between_the_untimed_steps_and_the_first_timed_line_is_the_runs_own():
    points = [replace(p, host_ns=p.host_ns + 3 * 10**9 * (p.step > 10)) for p in WHOLE]
    assert failed(points) == {"trace.pace"}


def test_a_validation_may_take_long():
    points = [
        replace(p, host_ns=p.host_ns + 9 * 10**9 * (p.step > 60 or (p.step == 60 and p.val_loss is not None)))
        for p in WHOLE
    ]
    assert failed(points) == set()


def test_lines_held_back_and_printed_at_once_fail():
    held = WHOLE[-1].host_ns
    assert "trace.clock" in failed([replace(p, host_ns=held) if p.val_loss is None else p for p in WHOLE])
    assert "trace.clock" in failed([replace(p, host_ns=held) for p in WHOLE])


def test_more_time_than_the_run_took_fails_even_on_one_line():
    found = trace.clock([Point(7000, 7000, 3.27, 1_200_000, 30 * 10**9)])
    assert found.outcome is Outcome.FAILED and "1170.0 s" in found.detail


def test_a_late_stamp_is_no_cheat():
    late = [replace(p, host_ns=p.host_ns + 6 * 10**8) if p.step == 55 else p for p in WHOLE]
    assert failed(late) == set()


def test_the_lag_that_readers_add_is_what_the_host_proves():
    found = trace.pace(slowed(WHOLE, 0.995), SCRIPT.untimed)
    timed = 110 * SCRIPT.step_s
    assert found.outcome is Outcome.PASSED
    assert dict(found.figures)[trace.LAG_FIGURE] == pytest.approx(0.005 * timed, abs=0.02)


def test_less_than_no_overhead_fails():
    start = RunTimings(20.0, 1500.0, 1400.0, 7000)
    claim = RunTimings(20.0, 30.0, 1200.0, 7000)
    found = next(f for f in baseline.judge(claim, start) if f.id == "baseline.excess")
    assert found.outcome is Outcome.FAILED and "1170.0 s more than passed" in found.detail
    quick = RunTimings(5.0, 1205.0, 1200.0, 7000)  # it starts and compiles faster
    found = next(f for f in baseline.judge(quick, start) if f.id == "baseline.excess")
    assert found.outcome is Outcome.PASSED

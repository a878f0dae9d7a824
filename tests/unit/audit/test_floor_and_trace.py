from __future__ import annotations

import pytest

from kit.audit import floor, trace
from kit.audit.finding import Outcome, Severity
from kit.values.run_result import Point

S = 1_000_000_000


def point(step: int, loss: float = 3.5, ms: int | None = None, host_s: float | None = None) -> Point:
    return Point(step, 100, loss, ms, None if host_s is None else int(host_s * S))


def test_a_loss_below_the_entropy_of_the_stream_is_fatal():
    found = floor.check([point(0, 5.5), point(100, 3.40)], floor=3.416)
    assert (found.outcome, found.severity) == (Outcome.FAILED, Severity.FATAL)
    assert dict(found.figures)["lowest_val_loss"] == 3.40


def test_a_false_loss_in_the_middle_of_the_run_is_seen_too():
    assert floor.check([point(50, 0.1), point(100, 3.5)], floor=3.416).outcome is Outcome.FAILED


def test_an_honest_loss_just_above_the_floor_passes():
    assert floor.check([point(100, 3.4165)], floor=3.416161).outcome is Outcome.PASSED


def test_rounding_to_four_decimals_is_no_cheat():
    assert floor.check([point(100, 3.4161)], floor=3.416161).outcome is Outcome.PASSED


@pytest.mark.parametrize("points", [[], [point(100, float("nan"))]])
def test_without_a_finite_loss_there_is_nothing_to_compare(points):
    assert floor.check(points, floor=3.4).outcome is Outcome.SKIPPED


def test_without_a_known_floor_the_check_says_that_it_was_skipped():
    assert floor.check([point(100, 0.1)], floor=None).outcome is Outcome.SKIPPED


def test_rising_steps_and_times_pass():
    assert trace.monotone([point(0, ms=0), point(50, ms=4000), point(100, ms=9000)]).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    "points", [[point(50), point(50)], [point(50), point(0)], [point(50, ms=9000), point(100, ms=4000)]]
)
def test_a_replayed_step_or_a_falling_clock_is_fatal(points):
    found = trace.monotone(points)
    assert (found.outcome, found.severity) == (Outcome.FAILED, Severity.FATAL)


def test_the_clock_may_be_set_to_zero_after_the_untimed_steps():
    assert trace.monotone([point(0, ms=12000), point(50, ms=4000)]).outcome is Outcome.PASSED


def test_a_clock_that_gains_on_the_hosts_is_fatal():
    points = [point(0, ms=0, host_s=1), point(50, ms=1000, host_s=10), point(100, ms=9000, host_s=12)]
    assert trace.clock(points).outcome is Outcome.FAILED


def test_a_clock_that_stands_still_during_validation_passes_and_the_gap_is_published():
    points = [point(0, ms=0, host_s=1), point(50, ms=1000, host_s=10), point(100, ms=5000, host_s=16)]
    found = trace.clock(points)
    assert found.outcome is Outcome.PASSED
    assert dict(found.figures) == {"claimed_s": 4.0, "host_s": 6.0, "worst_gain_s": 0.0}


def test_without_two_stamped_lines_the_clock_is_not_judged():
    assert trace.clock([point(50, ms=1, host_s=1)]).outcome is Outcome.SKIPPED
    assert trace.clock([point(50), point(100)]).outcome is Outcome.SKIPPED


def test_lines_that_all_come_in_one_moment_are_still_timed():
    points = [point(25, ms=1000, host_s=3), point(50, ms=4000, host_s=3), point(75, ms=8000, host_s=3)]
    assert trace.clock(points).outcome is Outcome.FAILED


def test_the_clock_may_be_set_to_zero_after_several_validations_of_untimed_steps():
    points = [point(0, ms=0), point(4, ms=900), point(8, ms=1800), point(12, ms=200), point(16, ms=700)]
    assert trace.monotone(points, untimed_steps=10).outcome is Outcome.PASSED
    assert trace.monotone(points, untimed_steps=5).outcome is Outcome.FAILED

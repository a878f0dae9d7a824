from __future__ import annotations

import pytest

from kit.sandbox.phases import STALL, TOTAL, PhaseClock
from kit.values.deadlines import Deadlines
from kit.values.run_result import Point
from kit.values.run_spec import Phase

DEADLINES = Deadlines(start_s=10, warmup_s=100, stall_s=20, teardown_s=5, total_s=500)


def val(step: int, total: int = 100) -> Point:
    return Point(step, total, 3.5, 1000)


def train(step: int, total: int = 100) -> Point:
    return Point(step, total, None, 1000)


def test_the_start_deadline_runs_until_the_first_line():
    clock = PhaseClock(DEADLINES, untimed_steps=10)
    assert (clock.due().clock, clock.due().at_s) == (Phase.START, 10)
    clock.line(4.0)
    assert (clock.due().clock, clock.due().at_s) == (Phase.WARMUP, 104.0)


def test_compiling_after_the_step_0_line_is_still_warmup_and_no_stall():
    clock = PhaseClock(DEADLINES, untimed_steps=10)
    clock.line(1.0)
    clock.point(1.0, val(0))
    clock.point(90.0, train(10))
    assert clock.phase is Phase.WARMUP
    assert clock.due().clock == Phase.WARMUP


def test_the_first_timed_step_ends_the_warmup_and_starts_the_stall_clock():
    clock = PhaseClock(DEADLINES, untimed_steps=10)
    clock.line(1.0)
    clock.point(50.0, train(11))
    assert clock.phase is Phase.TRAINING
    assert (clock.due().clock, clock.due().at_s) == (STALL, 70.0)


def test_only_a_higher_step_counts_as_progress():
    clock = PhaseClock(DEADLINES, untimed_steps=0)
    clock.line(1.0)
    clock.point(2.0, train(5))
    clock.point(15.0, train(5))
    clock.point(16.0, train(4))
    assert clock.due().at_s == 22.0
    clock.point(17.0, train(6))
    assert clock.due().at_s == 37.0


def test_lines_that_are_no_claims_do_not_feed_the_stall_clock():
    clock = PhaseClock(DEADLINES, untimed_steps=0)
    clock.line(1.0)
    clock.point(2.0, train(1))
    clock.line(21.0)
    assert clock.due().at_s == 22.0


def test_the_last_validation_starts_the_teardown():
    clock = PhaseClock(DEADLINES, untimed_steps=0)
    clock.line(1.0)
    clock.point(2.0, train(1))
    clock.point(30.0, train(100))
    assert clock.phase is Phase.TRAINING
    clock.point(31.0, val(100))
    assert (clock.phase, clock.due().clock, clock.due().at_s) == (Phase.TEARDOWN, Phase.TEARDOWN, 36.0)


def test_a_guest_cannot_get_more_than_the_total():
    clock = PhaseClock(Deadlines(start_s=10, warmup_s=1000, stall_s=1000, teardown_s=1000, total_s=50), 0)
    clock.line(1.0)
    assert (clock.due().clock, clock.due().at_s) == (TOTAL, 50)
    for step in range(1, 40):
        clock.point(float(step), train(step))
    assert (clock.due().clock, clock.due().at_s) == (TOTAL, 50)


def test_going_back_to_an_earlier_step_does_not_reopen_a_phase():
    clock = PhaseClock(DEADLINES, untimed_steps=0)
    clock.line(1.0)
    clock.point(2.0, val(100))
    assert clock.phase is Phase.TEARDOWN
    clock.point(3.0, train(1))
    clock.point(4.0, val(0))
    clock.point(6.0, val(100))
    assert (clock.phase, clock.due().at_s) == (Phase.TEARDOWN, 7.0)


def test_phase_times_add_up_to_the_wall_time():
    clock = PhaseClock(DEADLINES, untimed_steps=0)
    clock.line(1.5)
    clock.point(4.0, train(1))
    clock.point(31.0, val(100))
    times = clock.times(33.25)
    assert [t.phase for t in times] == list(Phase)
    assert sum(t.seconds for t in times) == pytest.approx(33.25)
    assert times[1].seconds == pytest.approx(2.5)


def test_lines_read_after_the_end_give_no_negative_phase():
    clock = PhaseClock(DEADLINES, untimed_steps=0)
    clock.line(1.0)
    clock.point(5.0, train(1))
    clock.point(5.2, val(100))
    times = clock.times(4.5)
    assert all(t.seconds >= 0 for t in times)
    assert sum(t.seconds for t in times) == pytest.approx(4.5)


def test_a_phase_that_was_not_reached_is_absent():
    clock = PhaseClock(DEADLINES, untimed_steps=0)
    assert [t.phase for t in clock.times(3.0)] == [Phase.START]
    assert clock.training_began_s() is None

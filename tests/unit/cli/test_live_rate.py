"""However many claims a guest prints, an operator sees a few lines a second, and the latest of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kit.cli.live import BURST, LINES_PER_S, PHASES, LineRate, Live
from kit.values.run_result import Point
from kit.values.run_spec import Phase


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def live():
    clock = Clock()
    return Live(SimpleNamespace(), LineRate(clock)), clock


def val(step):
    return Point(step, 999, 5.5, 0, step)


def test_a_million_claims_are_a_few_lines_and_the_last_one_is_among_them(live, capsys):
    shown, clock = live
    for step in range(1_000_000):
        clock.now += 10 / 1_000_000
        shown.point(val(step))
    clock.now += 1
    shown.tick()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) <= BURST + 11 * LINES_PER_S
    assert "step 999999/" in lines[-1]


def test_the_claims_of_an_honest_run_are_all_told(live, capsys):
    shown, clock = live
    for step in range(0, 40):
        clock.now += 0.5
        shown.point(val(step))
        shown.tick()
    assert len(capsys.readouterr().err.splitlines()) == 40


def test_a_phase_is_always_told_and_after_the_claim_that_waited(live, capsys):
    shown, _ = live
    for step in range(50):
        shown.point(val(step))
    for phase in Phase:
        shown.phase(phase, 1.0)
    shown.tick()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == BURST + 1 + len(Phase)
    assert "step 49/" in lines[BURST] and PHASES[Phase.START] in lines[BURST + 1]


def test_training_lines_do_not_take_the_place_of_a_waiting_validation(live, capsys):
    shown, clock = live
    for step in range(20):
        shown.point(val(step))
    shown.point(Point(21, 999, None, 0, 1))
    clock.now += 1
    shown.tick()
    shown.tick()
    assert capsys.readouterr().err.splitlines()[BURST].count("step 19/") == 1

"""From what a runtime observed to the parts of a predicate, whatever the guest printed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.evaluate.compose import Reserved, run_of
from kit.result import statement
from kit.result.derive import MAX_VAL_POINTS, SAFE, claims_of, host_ms_of, observations_of
from kit.result.dsse import parse_canonical
from kit.result.predicate import Predicate, Score, Verdict
from kit.values.log import Grammar
from kit.values.run_result import PhaseTime, Point, RunStatus, Teardown
from kit.values.run_spec import Phase


def val(step, loss, total=20, ms=None, host_ns=None):
    return Point(step, total, loss, ms, host_ns)


def test_claims_hold_validation_lines_only_and_end_with_the_last():
    points = (val(0, 10.8, ms=0), Point(5, 20, None, 100), val(20, 3.2, ms=900), Point(20, 20, None, 950))
    claims = claims_of(points, Grammar.STEP)
    assert [p.step for p in claims.val_points] == [0, 20]
    assert (claims.steps, claims.final_step, claims.final_val_loss, claims.train_time_ms) == (
        20,
        20,
        3.2,
        900,
    )


def test_a_run_without_validation_lines_claims_nothing():
    claims = claims_of((Point(5, 20, None, 100),), Grammar.STEP)
    assert claims.final_step is claims.final_val_loss is claims.steps is None
    assert claims.val_points == ()


def test_a_loss_that_is_no_number_is_null():
    claims = claims_of((val(20, float("nan")),), Grammar.STEP)
    assert claims.final_step == 20
    assert claims.final_val_loss is None


def test_a_total_that_no_line_announced_is_not_known():
    assert claims_of((val(0, 10.8, total=0),), Grammar.LLM_C).steps is None


def test_a_flood_of_validation_lines_keeps_the_last_one():
    points = tuple(val(i, 5.0, total=10**6, host_ns=i * 10**6) for i in range(MAX_VAL_POINTS + 100))
    claims = claims_of(points, Grammar.STEP)
    assert len(claims.val_points) == len(host_ms_of(points)) == MAX_VAL_POINTS
    assert claims.val_points[-1].step == claims.final_step == MAX_VAL_POINTS + 99
    assert claims.val_points_printed == MAX_VAL_POINTS + 100
    assert host_ms_of(points)[-1] == MAX_VAL_POINTS + 99


def test_phases_that_ran_on_after_the_end_are_cut_to_the_wall_time(make, assets):
    """The pipes are drained after the clock was read, so the last line may come after the end."""
    late = replace(
        make.result(assets),
        wall_s=10.0,
        train_wall_s=12.0,
        phases=(
            PhaseTime(Phase.START, 1.0, 300.0),
            PhaseTime(Phase.TRAINING, 12.0, 3600.0),
            PhaseTime(Phase.TEARDOWN, -3.0, 120.0),
        ),
    )
    assert [t.seconds for t in observations_of(late).phases] == [1.0, 9.0, 0.0]
    assert observations_of(late).train_wall_s == 10.0


hostile_points = st.lists(
    st.builds(
        Point,
        st.integers(),
        st.integers(),
        st.none() | st.floats(),
        st.none() | st.integers(),
        st.none() | st.integers(0, 10**17),
    ),
    max_size=20,
).map(tuple)


@given(points=hostile_points, text=st.text(max_size=3000), status=st.sampled_from(RunStatus))
def test_whatever_a_guest_prints_its_run_gets_a_statement(make, assets, points, text, status):
    seen = replace(
        make.result(assets),
        points=points,
        reason=text,
        status=status,
        teardown=Teardown(0.0, (text,) * 100),
    )
    base = make.predicate(assets)
    predicate = replace(
        base,
        run=run_of(make.spec(), seen, Reserved("00", base.run.entry, base.run.kit)),
        claims=claims_of(points, Grammar.STEP),
        observations=observations_of(seen),
        score=Score(Verdict.FAILED, False, (text,), None),
    )
    data = statement.statement(predicate, make.subjects(assets))
    found = statement.parse(parse_canonical(data, "payload")).predicate
    assert isinstance(found, Predicate)
    assert found.claims == predicate.claims


@pytest.mark.parametrize("number", [10**30, -(10**30)])
def test_integers_that_json_readers_would_round_are_cut(number):
    (point,) = claims_of((val(number, 1.0, ms=number),), Grammar.STEP).val_points
    assert abs(point.step) == abs(point.train_time_ms) == SAFE

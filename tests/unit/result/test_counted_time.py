"""The time that counts: the guest's own, and never less than the host's stamps prove."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_run import Script, honest, result_of, timings_of

from kit.core.digest import tree_digest
from kit.core.errors import SchemaError
from kit.result import folder, statement
from kit.result.appraisal.timing import compared_time, counted_time, outside_ms
from kit.result.predicate import Lines
from kit.result.verify import open_bundle
from kit.values.cadence import Cadence

CADENCE = Cadence(training_every=1, validation_every=20, validates_start=True, guest_clock=True)
CLASSIC = replace(CADENCE, guest_clock=False)
SCRIPT, SILENT = Script(), Script(clock=False, untimed=0)


@pytest.fixture
def timed(make, assets):
    """Results of simulated runs."""
    plain = make.predicate(assets)

    def run(points, cadence=CADENCE, untimed=10, start=None):
        return result_of(plain, points, cadence, untimed, start)

    return run


def slow(points, factor):
    return tuple(replace(p, train_time_ms=round(p.train_time_ms * factor)) for p in points)


def test_a_clock_that_is_a_little_slow_gains_nothing(timed):
    whole = counted_time(timed(honest(SCRIPT)))
    less = counted_time(timed(slow(honest(SCRIPT), 0.99)))
    assert less.total == pytest.approx(whole.total, rel=1e-3)


def test_what_the_host_proves_is_not_counted_twice_where_the_overhead_was_measured(timed):
    start = timings_of(honest(SCRIPT), 10)
    whole = counted_time(timed(honest(SCRIPT), start=start))
    less = counted_time(timed(slow(honest(SCRIPT), 0.99), start=start))
    assert less.untimed_overhead < 50 and less.total == pytest.approx(whole.total, rel=1e-3)


def test_without_a_clock_the_host_counts_from_the_guests_start_unless_it_was_compared(timed):
    points = honest(SILENT)
    alone = timed(points, CLASSIC, 0)
    last, first = points[-1].host_ns / 1e6, points[1].host_ns / 1e6
    assert counted_time(alone).total == last
    start = timings_of(points, 0)
    compared = timed(points, CLASSIC, 0, start)
    assert counted_time(compared).total == pytest.approx(last - first)
    assert compared_time(alone, outside_ms(alone)).total == pytest.approx(last - first)
    own = tree_digest({f.name: f.sha256 for f in alone.inputs.submission})
    start_script = replace(alone, task=replace(alone.task, baseline_submission_sha256=own))
    assert counted_time(start_script).total == pytest.approx(last - first)


def test_training_lines_held_back_until_the_end_shorten_no_time_of_the_host(timed):
    points = honest(SILENT)
    start = timings_of(points, 0)
    held = tuple(replace(p, host_ns=points[-2].host_ns) if 0 < p.step < 120 else p for p in points)
    whole, late = timed(points, CLASSIC, 0, start), timed(held, CLASSIC, 0, start)
    assert counted_time(late).total == pytest.approx(counted_time(whole).total)
    gone = tuple(p for p in points if p.val_loss is not None or p.step > 100)
    assert counted_time(timed(gone, CLASSIC, 0, start)).total >= counted_time(whole).total


def test_a_result_of_version_0_1_keeps_its_time(timed):
    found = timed(slow(honest(SCRIPT), 0.99))
    first = replace(found, audit=replace(found.audit, tier_rules=1))
    assert counted_time(first).claimed == found.claims.train_time_ms
    silent = timed(honest(SILENT), CLASSIC, 0)
    first = replace(silent, audit=replace(silent.audit, tier_rules=1))
    assert counted_time(first).claimed == pytest.approx(1000 * silent.observations.train_wall_s)
    assert counted_time(first).untimed_overhead is None and outside_ms(first) is None


@pytest.mark.parametrize("kind", ["training_lines", "validation_lines"])
def test_lines_that_the_log_does_not_hold_are_refused(make, assets, run_folder, trusted, kind):
    found = make.predicate(assets)
    counted = getattr(found.evidence, kind)
    lied = replace(
        found, evidence=replace(found.evidence, **{kind: Lines(counted.expected, counted.seen + 1)})
    )
    payload = statement.statement(lied, folder.subjects(run_folder))
    (run_folder / "result.json").write_bytes(make.signed(payload))
    with pytest.raises(SchemaError, match=r"step 7: guest\.log has 1 training and 3 validation lines"):
        open_bundle(run_folder, trusted)

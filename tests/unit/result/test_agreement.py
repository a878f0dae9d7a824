"""Whether a rerun agrees with the first run, and when the question has no answer."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from kit.audit.baseline import UNTIMED_OVERHEAD
from kit.core.digest import sha256_bytes
from kit.result.appraisal.agreement import Agreement, Tolerance, compare, tolerance
from kit.result.predicate import AuditCheck, CompileCache, Gpu, Isolation, Outcome, Severity, Verdict
from kit.result.statement import Statement
from kit.values.profile import Profile
from kit.values.run_result import RunStatus

ALLOWED = Tolerance(loss=0.005, time=0.02)
GPU = Gpu(0, "NVIDIA H100", None, 80 << 30)


@pytest.fixture
def first(make, assets):
    return Statement(make.predicate(assets), make.subjects(assets))


def changed(statement, **parts):
    """The statement with parts of its predicate replaced."""
    return replace(statement, predicate=replace(statement.predicate, **parts))


def part(statement, name, **fields):
    return changed(statement, **{name: replace(getattr(statement.predicate, name), **fields)})


def full(statement, *gpus, time_ms=5000):
    found = part(statement, "task", profile=Profile.FULL)
    found = part(found, "hardware", gpus=gpus)
    return part(found, "claims", train_time_ms=time_ms)


def test_a_rerun_with_the_same_outcome_reproduces(first):
    found = compare(first, part(first, "run", id="another", nonce="ff"), ALLOWED)
    assert found.agreement is Agreement.REPRODUCED
    assert (found.loss_difference, found.curve_difference, found.time_ratio) == (0.0, 0.0, 1.0)
    assert any("times are not compared" in r for r in found.reasons)


@pytest.mark.parametrize(
    ("loss", "agrees"), [(3.2790, True), (3.2741, True), (3.2739, False), (3.2799, True)]
)
def test_the_final_loss_may_differ_by_the_tolerance_and_no_more(first, loss, agrees):
    found = compare(first, part(first, "claims", final_val_loss=loss), ALLOWED)
    assert (found.agreement is Agreement.REPRODUCED) is agrees


def test_a_warm_run_is_not_comparable_with_any_other(first):
    warm = part(first, "run", compile_cache=CompileCache.WARM, compile_cache_sha256=sha256_bytes(b""))
    for pair, which in (((first, warm), "second"), ((warm, first), "first"), ((warm, warm), "first")):
        found = compare(*pair, ALLOWED)
        assert found.agreement is Agreement.NOT_COMPARABLE
        assert f"the {which} run started with a warm compile cache" in found.reasons


def test_another_verdict_is_not_reproduced(first):
    found = compare(first, part(first, "score", verdict=Verdict.MISSED), ALLOWED)
    assert found.agreement is Agreement.NOT_REPRODUCED
    assert "first run reached the target, the second missed" in found.reasons[0]


def test_two_failures_agree_only_if_they_failed_alike(first):
    failed = part(part(first, "score", verdict=Verdict.FAILED), "run", status=RunStatus.CRASHED)
    assert compare(failed, failed, ALLOWED).agreement is Agreement.REPRODUCED
    stalled = part(failed, "run", status=RunStatus.STALLED)
    assert compare(failed, stalled, ALLOWED).agreement is Agreement.NOT_REPRODUCED


@pytest.mark.parametrize(("time_ms", "agrees"), [(5000, True), (5099, True), (5101, False), (1000, True)])
def test_a_full_rerun_on_the_same_gpus_may_not_be_slower_than_the_tolerance(first, time_ms, agrees):
    a, b = full(first, GPU), full(first, GPU, time_ms=time_ms)
    assert (compare(a, b, ALLOWED).agreement is Agreement.REPRODUCED) is agrees


def test_times_of_other_gpus_are_shown_but_not_judged(first):
    a, b = full(first, GPU), full(first, replace(GPU, name="NVIDIA A100"), time_ms=50_000)
    found = compare(a, b, ALLOWED)
    assert found.agreement is Agreement.REPRODUCED and found.time_ratio == 10.0
    assert "the GPUs differ" in found.reasons[-1]


def with_excess(statement, seconds, outcome=Outcome.PASSED):
    check = AuditCheck(UNTIMED_OVERHEAD.id, Severity.WARNING, outcome, "x", (("excess_s", seconds),))
    return part(statement, "audit", checks=(*statement.predicate.audit.checks, check))


def test_work_outside_its_own_clock_counts_where_both_runs_measured_it(first):
    a, b = with_excess(full(first, GPU), 0.0), with_excess(full(first, GPU), 0.2)
    found = compare(a, b, ALLOWED)
    assert found.time_ratio == pytest.approx(5200 / 5000)
    assert found.agreement is Agreement.NOT_REPRODUCED
    assert compare(b, a, ALLOWED).agreement is Agreement.REPRODUCED


@pytest.mark.parametrize("outcome", [None, Outcome.SKIPPED])
def test_an_excess_that_one_run_did_not_measure_is_left_out_and_said(first, outcome):
    a, b = with_excess(full(first, GPU), 3.0), full(first, GPU)
    found = compare(a, b if outcome is None else with_excess(b, 0.0, outcome), ALLOWED)
    assert found.time_ratio == 1.0 and found.agreement is Agreement.REPRODUCED
    assert "untimed overhead is not compared" in found.reasons[-1]


def other_image(s):
    return part(s, "environment", image=replace(s.predicate.environment.image, config_digest="0" * 64))


OBSTACLES = {
    "submissions": lambda s: replace(s, subjects=replace(s.subjects, submission=sha256_bytes(b"x"))),
    "tasks": lambda s: part(s, "task", id="4"),
    "the record's facts differ": lambda s: part(
        s, "inputs", record_manifest=replace(s.predicate.inputs.record_manifest, sha256="0" * 64)
    ),
    "images": other_image,
    "machine's own files": lambda s: part(s, "environment", image=None),
    "data": lambda s: part(s, "inputs", data=replace(s.predicate.inputs.data, val_tokens=1)),
    "commands": lambda s: part(s, "run", world_size=2),
    "environment variables differ: SECRET": lambda s: part(
        s, "run", env=(*s.predicate.run.env, ("SECRET", "1"))
    ),
    "second run was not contained": lambda s: part(
        s, "environment", isolation=replace(s.predicate.environment.isolation, level=Isolation.NONE)
    ),
    "second run was lost": lambda s: part(s, "run", status=RunStatus.LOST),
    "second run was cancelled": lambda s: part(s, "run", status=RunStatus.CANCELLED),
}


@pytest.mark.parametrize("says", OBSTACLES)
def test_what_differs_beside_the_outcome_makes_two_runs_not_comparable(first, says):
    found = compare(first, OBSTACLES[says](first), ALLOWED)
    assert found.agreement is Agreement.NOT_COMPARABLE
    assert any(says in reason for reason in found.reasons)


@pytest.mark.parametrize("status", [RunStatus.TIMED_OUT, RunStatus.STALLED])
def test_a_deadline_that_one_of_two_runs_missed_says_nothing_of_the_outcome(first, status):
    late = part(first, "run", status=status, reason="the warmup deadline passed at 9.0 s", clock="warmup")
    late = part(late, "score", verdict=Verdict.FAILED)
    for pair, which in (((first, late), "second"), ((late, first), "first")):
        found = compare(*pair, ALLOWED)
        assert found.agreement is Agreement.NOT_COMPARABLE
        (reason,) = found.reasons
        assert reason.startswith(f"the {which} run ") and reason.endswith("deadline passed at 9.0 s")
    assert compare(late, late, ALLOWED).agreement is Agreement.REPRODUCED
    crashed = part(part(first, "run", status=RunStatus.CRASHED), "score", verdict=Verdict.FAILED)
    assert compare(first, crashed, ALLOWED).agreement is Agreement.NOT_REPRODUCED
    assert compare(crashed, late, ALLOWED).agreement is Agreement.NOT_REPRODUCED


def test_which_gpu_of_its_machine_a_run_got_does_not_matter(first):
    a = part(first, "run", env=(*first.predicate.run.env, ("NVIDIA_VISIBLE_DEVICES", "GPU-1")))
    b = part(first, "run", env=(*first.predicate.run.env, ("NVIDIA_VISIBLE_DEVICES", "GPU-2")))
    assert compare(a, b, ALLOWED).agreement is Agreement.REPRODUCED


def test_the_tolerance_is_three_sigmas_of_a_difference():
    record = SimpleNamespace(reference_ms=1000, retimed_sd_ms=10.0)
    assert tolerance(Profile.FULL, record).loss == pytest.approx(3 * 2**0.5 * 0.0017)
    assert tolerance(Profile.FULL, record).time == pytest.approx(3 * 2**0.5 * 0.01)
    steady = SimpleNamespace(reference_ms=1000, retimed_sd_ms=0.0)
    assert tolerance(Profile.FULL, steady).time == pytest.approx(3 * 2**0.5 * 0.005)

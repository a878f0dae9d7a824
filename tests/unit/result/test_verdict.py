"""What a result comes to."""

from dataclasses import replace

import pytest

from kit.core.digest import sha256_bytes, tree_digest
from kit.evaluate.launch import cache_program
from kit.result.appraisal.verdict import contradictions, judge, ranking_blockers
from kit.result.derive import claims_of
from kit.result.predicate import (
    Audit,
    AuditCheck,
    CompileCache,
    Gpu,
    Isolation,
    Lines,
    Outcome,
    Severity,
    Verdict,
)
from kit.values.log import Grammar
from kit.values.profile import Profile
from kit.values.run_result import Point, RunStatus


def claims(loss, step=20, total=20):
    return claims_of((Point(step, total, loss, 0),), Grammar.STEP)


def check(severity, outcome):
    return AuditCheck("source.x", severity, outcome, "", ())


@pytest.mark.parametrize(
    ("loss", "verdict"),
    [
        (3.27, Verdict.REACHED),
        (3.28, Verdict.REACHED),
        (3.2801, Verdict.MISSED),
        (float("nan"), Verdict.FAILED),
    ],
)
def test_a_completed_run_is_judged_by_its_last_loss(loss, verdict):
    assert judge(RunStatus.COMPLETED, claims(loss), 3.28, ()) is verdict


@pytest.mark.parametrize("status", [s for s in RunStatus if s is not RunStatus.COMPLETED])
def test_a_run_that_did_not_complete_failed_whatever_it_claimed(status):
    assert judge(status, claims(3.0), 3.28, ()) is Verdict.FAILED


@pytest.mark.parametrize(("step", "total"), [(10, 20), (20, 10), (0, 0)])
def test_a_loss_before_the_last_step_is_no_result(step, total):
    assert judge(RunStatus.COMPLETED, claims(3.0, step, total), 3.28, ()) is Verdict.FAILED


@pytest.mark.parametrize("severity", list(Severity))
@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_a_failed_fatal_check_refuses(severity, outcome):
    found = judge(RunStatus.COMPLETED, claims(3.0), 3.28, (check(severity, outcome),))
    refused = severity is Severity.FATAL and outcome is Outcome.FAILED
    assert found is (Verdict.REFUSED if refused else Verdict.REACHED)


def fatal(name):
    return AuditCheck(name, Severity.FATAL, Outcome.FAILED, "", ())


@pytest.mark.parametrize("status", [s for s in RunStatus if s is not RunStatus.COMPLETED])
def test_lines_that_a_run_could_not_print_do_not_make_it_refused(status):
    missing = (fatal("evidence.training_lines"), fatal("evidence.last_step"))
    assert judge(status, claims(3.0), 3.28, missing) is Verdict.FAILED
    assert judge(status, claims(3.0), 3.28, (*missing, fatal("source.network"))) is Verdict.REFUSED


def test_a_completed_run_that_left_lines_out_is_refused():
    assert judge(RunStatus.COMPLETED, claims(3.0), 3.28, (fatal("evidence.times"),)) is Verdict.REFUSED


@pytest.fixture
def full(make, assets):
    """A predicate that nothing stands against."""
    found = make.predicate(assets)
    gpus = tuple(Gpu(i, "NVIDIA H100 80GB HBM3", f"GPU-{i}", 85 << 30) for i in range(8))
    found = replace(
        found,
        run=replace(found.run, gpus=8),
        task=replace(found.task, profile=Profile.FULL),
        hardware=replace(found.hardware, gpus=gpus),
    )
    bounded = AuditCheck("baseline.warmup", Severity.FATAL, Outcome.PASSED, "", ())
    found = replace(found, audit=Audit((*found.audit.checks, bounded), 2))
    return replace(found, score=replace(found.score, ranked=True, unranked_because=()))


def test_a_full_contained_pinned_run_that_reached_can_be_ranked(full, assets, make):
    assert ranking_blockers(full) == ()
    assert list(contradictions(full, make.subjects(assets).submission)) == []


def test_a_start_script_needs_no_other_one_beside_it(full):
    files = {f.name: f.sha256 for f in full.inputs.submission}
    own = replace(full.task, baseline_submission_sha256=tree_digest(files))
    assert ranking_blockers(_alone(replace(full, task=own))) == ()


def _smoke(p):
    return replace(p, task=replace(p.task, profile=Profile.SMOKE))


def _host_files(p):
    return replace(p, environment=replace(p.environment, image=None))


def _in_pod(p):
    isolation = replace(p.environment.isolation, level=Isolation.IN_POD)
    return replace(p, environment=replace(p.environment, isolation=isolation))


def _open_network(p):
    (network,) = p.environment.isolation.checks
    isolation = replace(p.environment.isolation, checks=(replace(network, passed=False),))
    return replace(p, environment=replace(p.environment, isolation=isolation))


def _host_runtime(p):
    runtime = replace(p.environment.runtime, contains=False)
    return replace(p, environment=replace(p.environment, runtime=runtime))


def _unpinned(p):
    return replace(p, inputs=replace(p.inputs, data=replace(p.inputs.data, pinned=False)))


def _warm(p):
    digest = sha256_bytes(b"manifest of a compile cache")
    return replace(p, run=replace(p.run, compile_cache=CompileCache.WARM, compile_cache_sha256=digest))


def _missed(p):
    return replace(p, score=replace(p.score, verdict=Verdict.MISSED))


def _four_gpus(p):
    return replace(p, run=replace(p.run, gpus=4), hardware=replace(p.hardware, gpus=p.hardware.gpus[:4]))


def _one_gpu(p):
    return replace(p, run=replace(p.run, gpus=1), hardware=replace(p.hardware, gpus=p.hardware.gpus[:1]))


def _unnamed_gpus(p):
    return replace(p, hardware=replace(p.hardware, gpus=p.hardware.gpus[:7]))


def _one_gpu_named_twice(p):
    return replace(p, hardware=replace(p.hardware, gpus=(*p.hardware.gpus[:7], p.hardware.gpus[0])))


def _other_model(p):
    gpus = tuple(replace(g, name="NVIDIA H100 PCIe") for g in p.hardware.gpus)
    return replace(p, hardware=replace(p.hardware, gpus=gpus))


def _without_a_link(p):
    return replace(p, run=replace(p.run, env=(*p.run.env, ("NCCL_NVLS_ENABLE", "0"))))


def _alone(p):
    return replace(p, audit=Audit(p.audit.checks[:-1], 2))


def _beside_a_start_script_that_failed(p):
    skipped = replace(p.audit.checks[-1], outcome=Outcome.SKIPPED)
    return replace(p, audit=Audit((*p.audit.checks[:-1], skipped), 2))


def _untimed(p):
    kept = tuple(c for c in p.audit.checks if c.id != "trace.pace")
    return replace(p, audit=replace(p.audit, checks=kept))


def _fewer_lines(p):
    return replace(p, evidence=replace(p.evidence, training_lines=Lines(20, 1)))


def _longer_than_it_took(p):
    stamps = tuple(ms and ms / 10 for ms in p.observations.val_point_host_ms)
    return replace(p, observations=replace(p.observations, val_point_host_ms=stamps))


def _left_behind(p):
    gone = replace(p.observations.teardown, remains=("20480 MiB on GPU 3",))
    return replace(p, observations=replace(p.observations, teardown=gone))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_alone, "the warm-up was not compared with the start script's on the same machine"),
        (_beside_a_start_script_that_failed, "the warm-up was not compared"),
        (_without_a_link, "links between GPUs were disabled: NCCL_NVLS_ENABLE=0"),
        (_four_gpus, "the run used 4 GPUs; the records ran on 8"),
        (_one_gpu, "the run used 1 GPU; the records ran on 8"),
        (_unnamed_gpus, "the run used 8 GPUs and lists 7"),
        (_one_gpu_named_twice, "the run used 8 GPUs and lists 8"),
        (_other_model, "NVIDIA H100 PCIe is not a GPU model"),
        (_untimed, "steps and time are not proved: the check trace.pace did not run"),
        (_fewer_lines, "steps and time are not proved: the run printed 1 of 20 training lines"),
        (_longer_than_it_took, "the run claims 4.1 s more than passed up to its last validation line"),
        (_left_behind, "20480 MiB on GPU 3"),
        (_smoke, "the smoke profile is a toy task"),
        (_host_files, "not a pinned image"),
        (_in_pod, "isolation is in-pod"),
        (_open_network, "the isolation check network failed"),
        (_host_runtime, "the runtime runc provides no isolation"),
        (_unpinned, "data: unpinned"),
        (_warm, "the run started with a warm compile cache"),
        (_missed, "the verdict is missed"),
    ],
)
def test_each_obstacle_alone_keeps_a_result_from_being_ranked(full, make, assets, change, reason):
    changed = change(full)
    (found,) = ranking_blockers(changed)
    assert reason in found
    assert any(reason in c for c in contradictions(changed, make.subjects(assets).submission))


@pytest.mark.parametrize("field", ["compile_cache", "compile_cache_sha256"])
def test_a_warm_run_names_its_compile_cache_and_a_cold_one_none(full, make, assets, field):
    value = getattr(_warm(full).run, field)
    turned = replace(full, run=replace(full.run, **{field: value}))
    found = list(contradictions(turned, make.subjects(assets).submission))
    assert found[0] == "run.compile_cache and run.compile_cache_sha256 contradict each other"


def test_a_run_that_starts_with_a_compile_cache_is_not_cold(full, make, assets):
    subject = make.subjects(assets).submission
    argv = (*cache_program("python3", "use"), *full.run.argv)
    turned = replace(full, run=replace(full.run, argv=argv))
    found = list(contradictions(turned, subject))
    assert found == ["run.compile_cache is cold, and run.argv starts with a compile cache"]
    argument = replace(full, run=replace(full.run, argv=(*full.run.argv, *cache_program("python3", "use"))))
    assert list(contradictions(argument, subject)) == [], "an argument of the script is no compile cache"


def test_phases_out_of_order_are_a_contradiction(full, make, assets):
    seen = full.observations
    turned = replace(full, observations=replace(seen, phases=seen.phases[::-1]))
    found = list(contradictions(turned, make.subjects(assets).submission))
    assert found == ["the phases are not listed in the order start, warmup, training, teardown"]


def test_a_file_listed_twice_is_a_contradiction(full, make, assets):
    twice = replace(full, inputs=replace(full.inputs, submission=full.inputs.submission * 2))
    (found,) = contradictions(twice, make.subjects(assets).submission)
    assert "inputs.submission does not match" in found


@pytest.mark.parametrize("status", [RunStatus.TIMED_OUT, RunStatus.STALLED])
def test_a_deadline_without_a_clock_is_a_contradiction(full, make, assets, status):
    changed = replace(
        full,
        run=replace(full.run, status=status),
        score=replace(full.score, verdict=Verdict.FAILED, ranked=False, unranked_because=("x",)),
    )
    (found,) = contradictions(changed, make.subjects(assets).submission)
    assert "no clock is named" in found


@pytest.mark.parametrize("change", [_untimed, _longer_than_it_took])
def test_a_result_of_version_0_1_is_ranked_by_the_first_rules(full, change):
    first = replace(full, audit=replace(full.audit, tier_rules=1))
    assert ranking_blockers(change(first)) == ()

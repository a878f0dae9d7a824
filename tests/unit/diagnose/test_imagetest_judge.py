"""What the host holds against a self-test's answers: versions that differ, excuses, silence, a bad end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kit.benchmark.records import load
from kit.diagnose.imagetest.judge import Expected, expectation_of, judge, judge_ending, judge_isolation
from kit.diagnose.imagetest.report import (
    ATTENTION,
    CHECKS,
    CUDNN,
    MORE,
    SelfTestAnswer,
    SelfTestOutcome,
    SelfTestReport,
)
from kit.diagnose.imagetest.run import SCRIPTS
from kit.image.lock import read_lock
from kit.image.spec import read_spec
from kit.sandbox.isolation_probe import IsolationResult, ProbeCheck
from kit.values.run_result import Enforcement, RunResult, RunStatus, Teardown, Usage
from kit.values.run_spec import RuntimeName

IMAGES = Path(__file__).parents[3] / "images"
PACKAGES = {"numpy": "2.1.2", "torch": "2.4.1", "triton": "3.0.0"}
CUDA = Expected(
    packages=tuple(PACKAGES.items()),
    components=(("python", "3.11.2"), ("torch", "2.4.1+cu121")),
    no_gpus=None,
    unchecked_layouts=True,
)
CPU = Expected(
    packages=(("numpy", "2.1.2"), ("torch", "2.4.1")),
    components=CUDA.components,
    no_gpus="the image has no CUDA",
)
SAID = {
    "python": {"python": "3.11.2"},
    "packages": PACKAGES,
    "numpy": {"numpy": "2.1.2"},
    "torch": {"torch": "2.4.1+cu121"},
    "triton": {"triton": "3.0.0"},
}


def answers(**changes: SelfTestAnswer) -> SelfTestReport:
    """Return a report of a perfect CUDA image, with some answers replaced."""
    perfect = {
        c: SelfTestAnswer(c, SelfTestOutcome.PASSED, "fine", 1.0, tuple(SAID.get(c, {}).items()))
        for c in CHECKS
    }
    return SelfTestReport(
        tuple({**perfect, **{k.replace("_", "-"): v for k, v in changes.items()}}.values()), None
    )


def said(
    check: str, outcome: SelfTestOutcome = SelfTestOutcome.PASSED, detail: str = "fine", **versions: str
) -> SelfTestAnswer:
    return SelfTestAnswer(check, outcome, detail, 1.0, tuple(versions.items()))


def failed(report: SelfTestReport, wanted: Expected = CUDA) -> dict[str, str]:
    return {c.id: c.detail for c in judge(report, wanted) if c.outcome is SelfTestOutcome.FAILED}


def test_a_perfect_report_fails_nothing():
    judged = judge(answers(), CUDA)
    assert tuple(c.id for c in judged) == CHECKS
    assert {c.outcome for c in judged} == {SelfTestOutcome.PASSED}


WRONG = {
    "another torch": ("torch", said("torch", torch="2.4.1+cpu"), "expected 2.4.1+cu121"),
    "torch as the wheel spells it": ("torch", said("torch", torch="2.4.1"), "expected 2.4.1+cu121"),
    "torch without a version": ("torch", said("torch"), "version unknown"),
    "another python": ("python", said("python", python="3.12.7"), "expected 3.11.2"),
    "another numpy": ("numpy", said("numpy", numpy="2.1.3"), "expected 2.1.2"),
    "a package less": (
        "packages", said("packages", numpy="2.1.2", torch="2.4.1"), "triton: not installed, expected ",
    ),
    "a package more": ("packages", said("packages", **PACKAGES, evil="1"), "evil: 1, expected not installed"),
    "a package of another version": (
        "packages", said("packages", **{**PACKAGES, "torch": "2.5.0"}), "torch: 2.5.0, expected 2.4.1",
    ),
    "no packages": ("packages", said("packages"), "numpy: not installed"),
}  # fmt: skip


@pytest.mark.parametrize(("check", "answer", "detail"), WRONG.values(), ids=WRONG)
def test_a_version_that_is_not_the_promised_one_fails_although_the_guest_passed_it(check, answer, detail):
    found = failed(answers(**{check: answer}))
    assert set(found) == {check} and detail in found[check]


def test_a_failure_keeps_the_guests_own_words():
    broken = said("gloo", SelfTestOutcome.FAILED, "RuntimeError: torchrun exited with 1")
    assert failed(answers(gloo=broken)) == {"gloo": "RuntimeError: torchrun exited with 1"}


@pytest.mark.parametrize("check", [c for c in CHECKS if c not in ("nccl", "triton-kernel")])
def test_no_check_that_could_be_made_may_be_skipped(check):
    found = failed(answers(**{check.replace("-", "_"): said(check, SelfTestOutcome.SKIPPED, "no mood")}))
    assert set(found) == {check} and "no mood" in found[check]


def test_triton_may_be_skipped_only_where_the_lock_has_none():
    skipped = answers(
        triton=said("triton", SelfTestOutcome.SKIPPED, "the image has no triton"),
        packages=said("packages", numpy="2.1.2", torch="2.4.1"),
    )
    assert failed(skipped, CPU) == {}
    assert "triton" in failed(skipped, CUDA)


def test_an_operator_may_be_skipped_only_where_the_image_does_not_promise_to_take_it():
    skips = answers(custom_operator=said("custom-operator", SelfTestOutcome.SKIPPED, "not here"))
    assert failed(skips, replace(CUDA, unchecked_layouts=False)) == {}
    assert "custom-operator" in failed(skips, CUDA)


def test_the_era_whose_records_have_such_an_operator_promises_it_and_no_other_does():
    eras = [read_spec(IMAGES, folder.name) for folder in IMAGES.iterdir() if folder.is_dir()]
    promise = {spec.era for spec in eras if expectation_of(spec, read_lock(spec), None).unchecked_layouts}
    assert promise == {load(IMAGES.parent / "records", n).era for n in (19, 20, 21)}


def test_gpu_checks_are_skipped_for_the_hosts_reason_and_never_with_gpus():
    none = {
        c.replace("-", "_"): said(c, SelfTestOutcome.SKIPPED, "no GPU is visible")
        for c in ("nccl", "triton-kernel")
    }
    without = judge(answers(**none), replace(CUDA, no_gpus="this machine has no NVIDIA GPU"))
    assert {c.detail for c in without if c.outcome is SelfTestOutcome.SKIPPED} == {
        "this machine has no NVIDIA GPU"
    }
    assert set(failed(answers(**none))) == {"nccl", "triton-kernel"}


FLASH = replace(CUDA, checks=CHECKS + MORE)


def test_an_image_with_modules_of_the_kit_must_answer_for_them_too():
    assert failed(answers(), FLASH) == dict.fromkeys(MORE, "no answer")
    more = {name.replace("-", "_"): said(name) for name in MORE}
    assert failed(answers(**more), FLASH) == {}


@pytest.mark.parametrize("check", MORE)
def test_attention_is_skipped_only_where_it_needs_a_gpu_that_is_absent(check):
    more = {name.replace("-", "_"): said(name) for name in MORE}
    more[check.replace("-", "_")] = said(check, SelfTestOutcome.SKIPPED, "no mood")
    assert set(failed(answers(**more), FLASH)) == {check}
    found = failed(answers(**more), replace(FLASH, no_gpus="this machine has no NVIDIA GPU"))
    assert set(found) == {check} - {"attention-kernels"}


def test_attention_of_cudnn_is_skipped_only_without_a_gpu_and_its_compiler_never():
    wanted = replace(CUDA, checks=CHECKS + CUDNN, no_gpus="this machine has no NVIDIA GPU")
    more = {name.replace("-", "_"): said(name, SelfTestOutcome.SKIPPED, "no mood") for name in CUDNN}
    assert set(failed(answers(**more), wanted)) == {"cudnn-compiler"}
    assert set(failed(answers(**more), replace(wanted, no_gpus=None))) == set(CUDNN)


def test_the_eras_that_answer_for_more_are_those_with_modules_and_those_that_help_cudnn():
    eras = [read_spec(IMAGES, folder.name) for folder in IMAGES.iterdir() if folder.is_dir()]
    found = {spec.era: expectation_of(spec, read_lock(spec), None).checks for spec in eras}
    long = {era: checks for era, checks in found.items() if checks != CHECKS}
    helped = dict.fromkeys(("torch-2.5.0", "torch-2.5.1"), CHECKS + CUDNN)
    assert long == {**helped, "torch-2.9.1": CHECKS + ATTENTION, "torch-2.10.0": CHECKS + MORE}
    assert set(long) - set(helped) == {spec.era for spec in eras if spec.modules}
    assert set(SCRIPTS) == {*found.values()}


def test_a_wheel_of_which_one_file_is_taken_is_not_expected_to_be_installed():
    spec = read_spec(IMAGES, "torch-2.10.0")
    expected = dict(expectation_of(spec, read_lock(spec), None).packages)
    assert "xformers" not in expected and expected["torch"] == "2.10.0"


def test_a_missing_answer_is_a_failure():
    assert failed(SelfTestReport((), "ends before the check python")) == dict.fromkeys(CHECKS, "no answer")


def result(status: RunStatus, remains: tuple[str, ...] = ()) -> RunResult:
    return RunResult(
        run_id="r00-20261123T170000Z-1a2b3c4d", status=status, reason="the guest exited with 139",
        ended_in=None, clock=None, exit_code=139, started_at="2026-11-23T17:00:00.000+00:00", wall_s=1.0,
        train_wall_s=None, phases=(), points=(), output_bytes=0, output_lines=0, usage=Usage(),
        teardown=Teardown(0.0, remains), log_sha256="0" * 64, stamps_sha256="0" * 64,
    )  # fmt: skip


def test_a_completed_guest_adds_no_failure():
    assert judge_ending(result(RunStatus.COMPLETED), answers(), "bye") == ()


def test_a_guest_that_died_has_failed_whatever_it_reported():
    (check,) = judge_ending(result(RunStatus.CRASHED), answers(), "Segmentation fault")
    assert (check.id, check.outcome) == ("guest", SelfTestOutcome.FAILED)
    assert check.detail == "the guest exited with 139; last line on stderr: Segmentation fault"


def test_an_unreadable_report_and_a_leftover_process_are_failures_of_their_own():
    ended = result(RunStatus.COMPLETED, ("sleep (7)",))
    found = judge_ending(ended, SelfTestReport((), "ends before the check python"), "")
    assert [c.id for c in found] == ["report", "teardown"]
    assert all(c.outcome is SelfTestOutcome.FAILED for c in found)
    assert "ends before the check python" in found[0].detail and "sleep (7)" in found[1].detail


def test_a_way_out_that_is_open_is_a_failure():
    by = Enforcement(RuntimeName.RUNC, "1.1.5", True, None, ())
    shut, open_ = ProbeCheck("network", True, "lo"), ProbeCheck("uid", False, "uid 0")
    assert judge_isolation(IsolationResult((shut,), by, 0.1)).outcome is SelfTestOutcome.PASSED
    found = judge_isolation(IsolationResult((shut, open_), by, 0.1))
    assert found.outcome is SelfTestOutcome.FAILED and "uid 0" in found.detail

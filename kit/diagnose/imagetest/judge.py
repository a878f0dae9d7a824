"""
Compare the answers of a self-test with what the host knows of the image: its lock and image.toml.

The guest does not know the expected versions. An image that was built to pass is not detected here; its
digest shows whether it is the expected image.
"""

from __future__ import annotations

from dataclasses import dataclass

from kit.core.codec import prose
from kit.core.text import counted
from kit.diagnose.imagetest.report import (
    ATTENTION,
    CHECKS,
    CUDNN,
    MORE,
    SelfTestAnswer,
    SelfTestOutcome,
    SelfTestReport,
)
from kit.image.lock import Lock
from kit.image.spec import EraSpec
from kit.sandbox.isolation_probe import IsolationResult
from kit.values.run_result import RunResult, RunStatus

NEED_GPUS = ("nccl", "triton-kernel", "attention-kernels", "cudnn-attention")
NVRTC = "/nvidia/cuda_nvrtc/lib"
"""In the `LD_LIBRARY_PATH` of an image whose torch does not load NVRTC, so that cuDNN finds it."""
TOKENIZER = "TIKTOKEN_CACHE_DIR"
"""The variable of an image that has the files of tiktoken's encoding."""
UNCHECKED_LAYOUTS = ("TORCHINDUCTOR_SIZE_ASSERTS", "0")
"""The variable by which an image lets Inductor accept an operator that declares another layout."""


@dataclass(frozen=True, slots=True)
class SelfTestCheck:
    """One check, as the host judged it."""

    id: str
    outcome: SelfTestOutcome
    detail: str
    """One printable line."""
    seconds: float | None = None
    """Seconds on the guest's clock; None without an answer."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the host expects of the image."""

    packages: tuple[tuple[str, str], ...]
    """Every wheel of the lock that is installed: name and version."""
    components: tuple[tuple[str, str], ...]
    """Names and versions under fidelity in image.toml, for example torch and `2.4.1+cu121`."""
    no_gpus: str | None
    """Why the guest has no GPU; None if it has one."""
    unchecked_layouts: bool = False
    """Whether the image's environment contains `UNCHECKED_LAYOUTS`."""
    checks: tuple[str, ...] = CHECKS
    """The checks that the guest must answer, in this order."""


def expectation_of(spec: EraSpec, lock: Lock, no_gpus: str | None) -> Expected:
    """Return the answers that an image of this spec and lock must give."""
    return Expected(
        packages=tuple(
            sorted((w.project, w.version) for w in lock.wheels if w.project not in spec.extracted)
        ),
        components=tuple(sorted((f.component, f.version) for f in spec.fidelity)),
        no_gpus=no_gpus,
        unchecked_layouts=UNCHECKED_LAYOUTS in spec.env,
        checks=checks_of(spec),
    )


def checks_of(spec: EraSpec) -> tuple[str, ...]:
    """Return the checks that an image must answer: more if it helps cuDNN, or has attention, a tokenizer."""
    if not spec.modules:
        helps = NVRTC in dict(spec.env).get("LD_LIBRARY_PATH", "")
        return CHECKS + CUDNN if helps else CHECKS
    return CHECKS + (MORE if TOKENIZER in dict(spec.env) else ATTENTION)


def judge(report: SelfTestReport, expectation: Expected) -> tuple[SelfTestCheck, ...]:
    """Judge every check. A check without an answer, or with an unexpected one, has failed."""
    answers = {answer.id: answer for answer in report.answers}
    return tuple(
        _judge_one(answers[name], expectation)
        if name in answers
        else SelfTestCheck(name, SelfTestOutcome.FAILED, "no answer")
        for name in expectation.checks
    )


def _judge_one(answer: SelfTestAnswer, expectation: Expected) -> SelfTestCheck:
    objection = _objection(answer, expectation)
    if objection is not None and answer.outcome is not SelfTestOutcome.FAILED:
        return SelfTestCheck(answer.id, SelfTestOutcome.FAILED, prose(objection), answer.seconds)
    detail = answer.detail
    if answer.outcome is SelfTestOutcome.SKIPPED and answer.id in NEED_GPUS and expectation.no_gpus:
        detail = prose(expectation.no_gpus)
    return SelfTestCheck(answer.id, answer.outcome, detail, answer.seconds)


def _objection(answer: SelfTestAnswer, expectation: Expected) -> str | None:
    """Return why an answer is wrong, or None."""
    if answer.outcome is SelfTestOutcome.SKIPPED:
        return _skip_objection(answer, expectation)
    reported, packages = dict(answer.versions), dict(expectation.packages)
    if answer.id == "packages":
        return _differences(packages, reported)
    expected = dict(expectation.components).get(answer.id) or packages.get(answer.id)
    if expected is not None and reported != {answer.id: expected}:
        return f"version {reported.get(answer.id, 'unknown')}, expected {expected}"
    return None


def _skip_objection(answer: SelfTestAnswer, expectation: Expected) -> str | None:
    if answer.id in NEED_GPUS:
        return f"skipped ({answer.detail}), but the guest has GPUs" if expectation.no_gpus is None else None
    if answer.id == "custom-operator" and not expectation.unchecked_layouts:
        return None
    if answer.id in dict(expectation.packages) or answer.id != "triton":
        return f"skipped ({answer.detail}), but this check must run"
    return None


def _differences(packages: dict[str, str], installed: dict[str, str]) -> str | None:
    odd = [
        f"{name}: {installed.get(name, 'not installed')}, expected {packages.get(name, 'not installed')}"
        for name in sorted({*packages, *installed})
        if packages.get(name) != installed.get(name)
    ]
    return "; ".join(odd) or None


def judge_isolation(probed: IsolationResult) -> SelfTestCheck:
    """Judge the isolation probe of the same start."""
    if probed.failed:
        detail = "; ".join(f"{check.id}: {check.detail}" for check in probed.failed)
        return SelfTestCheck("isolation", SelfTestOutcome.FAILED, prose(detail), probed.seconds)
    return SelfTestCheck(
        "isolation",
        SelfTestOutcome.PASSED,
        f"{len(probed.checks)} of {counted(len(probed.checks), 'check')} passed",
        probed.seconds,
    )


def judge_ending(result: RunResult, report: SelfTestReport, error_line: str) -> tuple[SelfTestCheck, ...]:
    """Return a failed check for each fault in the report, the exit and the teardown of the guest."""
    wrong = []
    if report.fault is not None:
        wrong.append(SelfTestCheck("report", SelfTestOutcome.FAILED, f"invalid report: {report.fault}"))
    if result.status is not RunStatus.COMPLETED:
        detail = f"{result.reason}; last line on stderr: {error_line}" if error_line else result.reason
        wrong.append(SelfTestCheck("guest", SelfTestOutcome.FAILED, prose(detail)))
    if result.teardown.remains:
        wrong.append(
            SelfTestCheck(
                "teardown",
                SelfTestOutcome.FAILED,
                prose("left behind after exit: " + ", ".join(result.teardown.remains)),
            )
        )
    return tuple(wrong)

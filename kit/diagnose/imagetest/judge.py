"""
Holding a self-test's answers against what the host knows of the image: lock and image.toml. Starts nothing.

The guest is not told which versions there should be. Not seen: an image that was made to pass; that it is
the promised one, its digest says.
"""

from __future__ import annotations

from dataclasses import dataclass

from kit.core.codec import prose
from kit.diagnose.imagetest.report import CHECKS, SelfTestAnswer, SelfTestOutcome, SelfTestReport
from kit.image.lock import Lock
from kit.image.spec import EraSpec
from kit.sandbox.isolation_probe import IsolationResult
from kit.values.run_result import RunResult, RunStatus

NEED_GPUS = ("nccl", "triton-kernel")
UNCHECKED_LAYOUTS = ("TORCHINDUCTOR_SIZE_ASSERTS", "0")
"""What an image's environment says if Inductor is to take an operator that declares another layout."""


@dataclass(frozen=True, slots=True)
class SelfTestCheck:
    """One check, as the host judged it."""

    id: str
    outcome: SelfTestOutcome
    detail: str
    """One printable line."""
    seconds: float | None = None
    """The guest's own clock; None for what it did not answer."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the host knows of the image."""

    packages: tuple[tuple[str, str], ...]
    """Every wheel of the lock: name and version."""
    components: tuple[tuple[str, str], ...]
    """What image.toml says under fidelity, for example torch and `2.4.1+cu121`."""
    no_gpus: str | None
    """Why the guest got no GPU; None if it got some."""
    unchecked_layouts: bool = False
    """Whether the image's environment says so."""


def expectation_of(spec: EraSpec, lock: Lock, no_gpus: str | None) -> Expected:
    """Return what an image of this spec and lock must answer."""
    return Expected(
        packages=tuple(sorted((w.project, w.version) for w in lock.wheels)),
        components=tuple(sorted((f.component, f.version) for f in spec.fidelity)),
        no_gpus=no_gpus,
        unchecked_layouts=UNCHECKED_LAYOUTS in spec.env,
    )


def judge(report: SelfTestReport, expectation: Expected) -> tuple[SelfTestCheck, ...]:
    """Judge every check; one that was not answered, or differs from what the host knows, has failed."""
    answers = {answer.id: answer for answer in report.answers}
    return tuple(
        _judge_one(answers[name], expectation)
        if name in answers
        else SelfTestCheck(name, SelfTestOutcome.FAILED, "no answer")
        for name in CHECKS
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
    """Return what the host holds against an answer."""
    if answer.outcome is SelfTestOutcome.SKIPPED:
        return _skip_objection(answer, expectation)
    reported, packages = dict(answer.versions), dict(expectation.packages)
    if answer.id == "packages":
        return _differences(packages, reported)
    promised = dict(expectation.components).get(answer.id) or packages.get(answer.id)
    if promised is not None and reported != {answer.id: promised}:
        return f"it is version {reported.get(answer.id, 'unknown')}, and should be {promised}"
    return None


def _skip_objection(answer: SelfTestAnswer, expectation: Expected) -> str | None:
    if answer.id in NEED_GPUS:
        return f"skipped ({answer.detail}), but it was given GPUs" if expectation.no_gpus is None else None
    if answer.id == "custom-operator" and not expectation.unchecked_layouts:
        return None
    if answer.id in dict(expectation.packages) or answer.id != "triton":
        return f"skipped ({answer.detail}), but it could have been checked"
    return None


def _differences(packages: dict[str, str], installed: dict[str, str]) -> str | None:
    odd = [
        f"{name} is {installed.get(name, 'not there')}, and should be {packages.get(name, 'absent')}"
        for name in sorted({*packages, *installed})
        if packages.get(name) != installed.get(name)
    ]
    return "; ".join(odd) or None


def judge_isolation(probed: IsolationResult) -> SelfTestCheck:
    """Judge what the isolation probe found in the same start."""
    if probed.failed:
        detail = "; ".join(f"{check.id}: {check.detail}" for check in probed.failed)
        return SelfTestCheck("isolation", SelfTestOutcome.FAILED, prose(detail), probed.seconds)
    return SelfTestCheck(
        "isolation", SelfTestOutcome.PASSED, f"{len(probed.checks)} ways out are shut", probed.seconds
    )


def judge_ending(result: RunResult, report: SelfTestReport, words: str) -> tuple[SelfTestCheck, ...]:
    """Return what is wrong with how the guest ended and reported; empty if nothing is."""
    wrong = []
    if report.fault is not None:
        wrong.append(SelfTestCheck("report", SelfTestOutcome.FAILED, f"cannot be read: {report.fault}"))
    if result.status is not RunStatus.COMPLETED:
        detail = f"{result.reason}; last words: {words}" if words else result.reason
        wrong.append(SelfTestCheck("guest", SelfTestOutcome.FAILED, prose(detail)))
    if result.teardown.remains:
        wrong.append(
            SelfTestCheck(
                "teardown", SelfTestOutcome.FAILED, prose("left: " + ", ".join(result.teardown.remains))
            )
        )
    return tuple(wrong)

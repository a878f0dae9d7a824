"""Read the report of a self-test, which is untrusted: each check once, in order, in one form."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kit.core.codec import prose
from kit.core.errors import IntegrityError, SchemaError
from kit.core.schema import parse_json, validate
from kit.values.output import Piece
from kit.values.run_result import OutputStream

CHECKS = (
    "python", "packages", "numpy", "torch", "triton", "c-extension", "inductor", "custom-operator",
    "gloo", "nccl", "triton-kernel",
)  # fmt: skip
"""The checks that kit/guest/selftest.py reports, in this order."""
ATTENTION = ("attention-graph", "attention-kernels")
"""The checks that kit/guest/selftest_attention.py reports after them, in this order."""
CUDNN = ("cudnn-compiler", "cudnn-attention")
"""The checks that kit/guest/selftest_cudnn.py reports after `CHECKS`, in this order."""
MORE = ("attention-graph", "tokenizer", "attention-kernels")
"""The checks that kit/guest/selftest_v2.py reports after `CHECKS`, in this order."""


class SelfTestOutcome(StrEnum):
    """Outcome of a check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not applicable, for a reason that the host knows."""


@dataclass(frozen=True, slots=True)
class SelfTestAnswer:
    """The guest's report of one check; its form is valid, its content is not judged."""

    id: str
    outcome: SelfTestOutcome
    detail: str
    seconds: float
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SelfTestReport:
    """The guest's answers, up to the first fault."""

    answers: tuple[SelfTestAnswer, ...]
    fault: str | None
    """Why the rest was not read; None if the report is complete."""


def read_report(pieces: Iterable[Piece], checks: tuple[str, ...] = CHECKS) -> SelfTestReport:
    """
    Read the guest's report of `checks` from the complete lines of its stdout.

    Nothing raises. The first line that is not a valid report of the next check is the fault and ends the
    report.
    """
    answers: list[SelfTestAnswer] = []
    try:
        for piece in pieces:
            if piece.stream is not OutputStream.STDOUT:
                continue
            if len(answers) == len(checks):
                raise SchemaError("unexpected line after the last check")
            if not piece.whole:
                raise SchemaError("overlong or incomplete line")
            answers.append(_answer(piece.data, checks[len(answers)]))
    except IntegrityError as e:
        return SelfTestReport(tuple(answers), prose(e.message))
    if len(answers) < len(checks):
        return SelfTestReport(tuple(answers), f"ends before the check {checks[len(answers)]}")
    return SelfTestReport(tuple(answers), None)


def _answer(line: bytes, awaited: str) -> SelfTestAnswer:
    where = f"the line for {awaited}"
    document: Any = parse_json(line, where)
    validate("selftest.v1", document, where)
    if document["check"] != awaited:
        raise SchemaError(f"{where} is about {document['check']}")
    return SelfTestAnswer(
        id=awaited,
        outcome=SelfTestOutcome(document["outcome"]),
        detail=prose(document["detail"]),
        seconds=float(document["seconds"]),
        versions=tuple(sorted(document["versions"].items())),
    )


def last_error_line(pieces: Iterable[Piece]) -> str:
    """Return the last non-empty line of stderr, for an error message. The report is on stdout."""
    last = b""
    with contextlib.suppress(IntegrityError):
        for piece in pieces:
            if piece.stream is OutputStream.STDERR and piece.data.strip():
                last = piece.data
    return prose(last[-300:].decode("utf-8", "replace").strip())

"""What a self-test said, read as a stranger's: each check once, in order, in one form. Judges nothing."""

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
"""What the guest reports, in this order."""


class SelfTestOutcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """There was nothing to check, and the host knows why."""


@dataclass(frozen=True, slots=True)
class SelfTestAnswer:
    """What the guest said of one check, in its form and not judged."""

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
    """Why what follows is not read; None if the report is whole."""


def read_report(pieces: Iterable[Piece]) -> SelfTestReport:
    """
    Read the guest's report out of what it printed: its stdout alone, whole lines alone.

    Nothing of it is trusted and nothing raises: whatever is not the next check in its form is the fault,
    and ends the report there.
    """
    answers: list[SelfTestAnswer] = []
    try:
        for piece in pieces:
            if piece.stream is not OutputStream.STDOUT:
                continue
            if len(answers) == len(CHECKS):
                raise SchemaError("there is more after the last check")
            if not piece.whole:
                raise SchemaError("it has an overlong or unfinished line")
            answers.append(_answer(piece.data, CHECKS[len(answers)]))
    except IntegrityError as e:
        return SelfTestReport(tuple(answers), prose(e.message))
    if len(answers) < len(CHECKS):
        return SelfTestReport(tuple(answers), f"it ends before {CHECKS[len(answers)]}")
    return SelfTestReport(tuple(answers), None)


def _answer(line: bytes, awaited: str) -> SelfTestAnswer:
    where = f"the line of {awaited}"
    document: Any = parse_json(line, where)
    validate("selftest.v1", document, where)
    if document["check"] != awaited:
        raise SchemaError(f"{where} is one of {document['check']}")
    return SelfTestAnswer(
        id=awaited,
        outcome=SelfTestOutcome(document["outcome"]),
        detail=prose(document["detail"]),
        seconds=float(document["seconds"]),
        versions=tuple(sorted(document["versions"].items())),
    )


def last_words(pieces: Iterable[Piece]) -> str:
    """Return the last line of stderr that is not empty, for a person; the report itself is on stdout."""
    words = b""
    with contextlib.suppress(IntegrityError):
        for piece in pieces:
            if piece.stream is OutputStream.STDERR and piece.data.strip():
                words = piece.data
    return prose(words[-300:].decode("utf-8", "replace").strip())

"""Answer calls from records alone. A call without a record is an error that says what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kit.agent.llm.record import CallRecord, read_record, record_path, request_sha256
from kit.agent.llm.wire import CallKey, CallOutcome, ChatRequest
from kit.core.codec import encode
from kit.core.errors import IntegrityError, PrerequisiteError
from kit.core.text import one_line

_SHOWN = 60
_FIELDS = 5


class ReplayTransport:
    """Gives recorded outcomes. Opens no connection and waits for nothing."""

    def __init__(self, folder: Path) -> None:
        """Raise `PrerequisiteError` if the directory of records does not exist."""
        if not folder.is_dir():
            raise PrerequisiteError(
                f"{folder} does not exist", "pass the directory `calls` of a recorded run"
            )
        self._folder = folder

    def call(
        self, request: ChatRequest, key: CallKey, wall_left_s: float, cancelled: Callable[[], bool]
    ) -> CallOutcome:
        """
        Return the recorded outcome of exactly this request at this place of the run.

        Raises `IntegrityError` if there is none, naming the fields in which the nearest record differs.
        """
        path = record_path(self._folder, key)
        record = read_record(path) if path.is_file() else None
        if record is None or request_sha256(record.request) != request_sha256(request):
            raise self._miss(request, key)
        return record.outcome

    def _miss(self, request: ChatRequest, place: CallKey) -> IntegrityError:
        headline = f"no recorded answer for node {place.node}, call {place.call}"
        hint = "replay with the prompts, the profile and the tree of the recorded run"
        records = [read_record(path) for path in sorted(self._folder.glob("*.json"))]
        if not records:
            return IntegrityError(f"{headline}: {self._folder} has no records", hint)
        asked = CallRecord(place, request, CallOutcome(None, None, ()))
        nearest = min(records, key=lambda record: _distance(record, asked))
        lines = list(_differences(nearest, asked))
        shown = lines[:_FIELDS] + ([f"and {len(lines) - _FIELDS} more"] if len(lines) > _FIELDS else [])
        found = f"the nearest record is node {nearest.place.node}, call {nearest.place.call}"
        return IntegrityError(headline, hint, (f"{found}, which differs in:", *shown))


def _distance(record: CallRecord, asked: CallRecord) -> tuple[bool, int, int, int]:
    """Order records: the same place first, then the fewest differing fields, then the first in the run."""
    fields = len(list(_differences(record, asked)))
    return record.place != asked.place, fields, record.place.node, record.place.call


def _differences(record: CallRecord, asked: CallRecord) -> Iterator[str]:
    """Yield a line for each field in which two calls differ."""
    yield from _compare("place", encode(CallKey, record.place), encode(CallKey, asked.place))
    yield from _compare("request", encode(ChatRequest, record.request), encode(ChatRequest, asked.request))


def _compare(where: str, recorded: Any, asked: Any) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in sorted({*recorded, *asked}):
            if name not in recorded:
                yield f"{where}.{name}: not in the record"
            elif name not in asked:
                yield f"{where}.{name}: only in the record"
            else:
                yield from _compare(f"{where}.{name}", recorded[name], asked[name])
    elif isinstance(recorded, list) and isinstance(asked, list):
        if len(recorded) != len(asked):
            yield f"{where}: {len(recorded)} recorded, {len(asked)} asked"
        for i, (a, b) in enumerate(zip(recorded, asked, strict=False)):
            yield from _compare(f"{where}[{i}]", a, b)
    elif isinstance(recorded, str) and isinstance(asked, str):
        if recorded != asked:
            yield f"{where}: {_first_difference(recorded, asked)}"
    elif recorded != asked:
        yield f"{where}: {recorded!r} recorded, {asked!r} asked"


def _first_difference(recorded: str, asked: str) -> str:
    """Say where two texts part: line, character, and what follows in each."""
    same = next(
        (i for i, (a, b) in enumerate(zip(recorded, asked, strict=False)) if a != b),
        min(len(recorded), len(asked)),
    )
    line = recorded[:same].count("\n") + 1
    a, b = (repr(one_line(text[same : same + _SHOWN])) for text in (recorded, asked))
    return f"line {line}, character {same + 1}: {a} recorded, {b} asked"

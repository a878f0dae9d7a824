"""The recorded calls of a run: one file `calls/NNN-KK.json` per call, written before its `CallEnded`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from kit.agent.llm.record import (
    CallRecord,
    outcome_sha256,
    read_record,
    record_path,
    request_sha256,
    valid_texts,
    write_record,
)
from kit.agent.llm.wire import CallKey, CallOutcome, ChatRequest
from kit.core.codec import decode, encode

__all__ = ["CALLS", "CallFolder", "CallRecords", "outcome_sha256", "request_sha256"]

CALLS = "calls"


class CallRecords(Protocol):
    """Keeps the outcomes of calls, so that a resumed run does not pay twice."""

    def save(self, key: CallKey, request: ChatRequest, outcome: CallOutcome) -> CallOutcome:
        """Store an outcome durably; return it as `load` will return it. An older one is replaced."""
        ...

    def load(self, key: CallKey, request_sha256: str) -> CallOutcome | None:
        """Return the outcome of a call with exactly this request; None if there is none."""
        ...


class CallFolder:
    """Call records in a directory. `redact` returns a JSON value without the secrets in its texts."""

    def __init__(self, run: Path, redact: Callable[[Any], Any] = lambda value: value) -> None:
        self._folder, self._redact = run / CALLS, redact

    def save(self, key: CallKey, request: ChatRequest, outcome: CallOutcome) -> CallOutcome:
        """See `CallRecords`."""
        kept: CallOutcome = self._clean(CallOutcome, outcome)
        write_record(self._folder, CallRecord(key, self._clean(ChatRequest, request), kept))
        return kept

    def load(self, key: CallKey, request_sha256: str) -> CallOutcome | None:
        """See `CallRecords`. Raises `SchemaError` for an invalid file."""
        path = record_path(self._folder, key)
        if not path.is_file():
            return None
        record = read_record(path)
        return record.outcome if _digest(record) == request_sha256 else None

    def _clean(self, kind: type, value: Any) -> Any:
        """Return a value without secrets, as it will be read."""
        return decode(kind, self._redact(valid_texts(encode(kind, value))), kind.__name__)


def _digest(record: CallRecord) -> str:
    return request_sha256(record.request)

"""
The recorded calls of a run: one file `calls/NNN-KK.json` per call, written before its `CallEnded`.

A call that was cancelled or refused is made again when the run is resumed. Its earlier record is kept as
`replaced-calls/NNN-KK-N.json`, for a replay.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from kit.agent.llm.record import (
    CallRecord,
    decode_record,
    outcome_sha256,
    read_record,
    record_path,
    request_sha256,
    valid_texts,
    write_record,
)
from kit.agent.llm.wire import CallKey, CallOutcome, ChatRequest
from kit.core.codec import decode, encode
from kit.core.files import write_atomic

__all__ = ["CALLS", "CallFolder", "CallRecords", "outcome_sha256", "request_sha256"]

CALLS = "calls"
REPLACED = "replaced-calls"


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
        self._folder, self._replaced, self._redact = run / CALLS, run / REPLACED, redact

    def save(self, key: CallKey, request: ChatRequest, outcome: CallOutcome) -> CallOutcome:
        """See `CallRecords`."""
        kept: CallOutcome = self._clean(CallOutcome, outcome)
        self._set_aside(key, kept)
        write_record(self._folder, CallRecord(key, self._clean(ChatRequest, request), kept))
        return kept

    def load(self, key: CallKey, request_sha256: str) -> CallOutcome | None:
        """See `CallRecords`. Raises `SchemaError` for an invalid file."""
        path = record_path(self._folder, key)
        if not path.is_file():
            return None
        record = read_record(path)
        return record.outcome if _digest(record) == request_sha256 else None

    def replaced(self, key: CallKey) -> tuple[CallRecord, ...]:
        """Return the earlier records of a call that was made again, the first one first."""
        stem = record_path(self._folder, key).stem
        paths = sorted(self._replaced.glob(f"{stem}-*.json"), key=lambda path: int(path.stem.split("-")[2]))
        return tuple(decode_record(path) for path in paths)

    def _set_aside(self, key: CallKey, outcome: CallOutcome) -> None:
        """Copy the record of an earlier outcome, unless it is this one."""
        path = record_path(self._folder, key)
        if not path.is_file() or read_record(path).outcome == outcome:
            return
        number = len(self.replaced(key)) + 1
        write_atomic(self._replaced / f"{path.stem}-{number}.json", path.read_bytes())

    def _clean(self, kind: type, value: Any) -> Any:
        """Return a value without secrets, as it will be read."""
        return decode(kind, self._redact(valid_texts(encode(kind, value))), kind.__name__)


def _digest(record: CallRecord) -> str:
    return request_sha256(record.request)

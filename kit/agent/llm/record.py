"""
Record calls as files `<key>.json`, and read them. A record has no header and no key.

The key of a record is the sha256 of the canonical request with the call's place in the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.agent.llm.wire import CallKey, CallOutcome, ChatRequest, ChatResponse, Transport
from kit.core.codec import decode, encode
from kit.core.digest import Sha256, canonical_json, sha256_bytes
from kit.core.errors import IntegrityError, SchemaError
from kit.core.files import write_atomic
from kit.core.schema import read_json

SCHEMA = "model-call.v1"


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call: where in the run it was made, what was asked and what came back."""

    place: CallKey
    request: ChatRequest
    outcome: CallOutcome


def request_sha256(request: ChatRequest) -> Sha256:
    """Return the sha256 of the canonical request, without the call's place in the run."""
    return sha256_bytes(canonical_json(encode(ChatRequest, request)))


def response_sha256(response: ChatResponse) -> Sha256:
    """Return the sha256 of the canonical response."""
    return sha256_bytes(canonical_json(encode(ChatResponse, response)))


def record_key(request: ChatRequest, place: CallKey) -> Sha256:
    """Return the name of the call's record."""
    return sha256_bytes(
        canonical_json({"request": encode(ChatRequest, request), "place": encode(CallKey, place)})
    )


def record_path(folder: Path, key: Sha256) -> Path:
    """Return the file of a record."""
    return folder / f"{key}.json"


def write_record(folder: Path, record: CallRecord) -> Path:
    """
    Write a record atomically; return its path.

    Raises `PrerequisiteError` for a full or read-only disk, and `SchemaError` for a text that is not Unicode.
    """
    path = record_path(folder, record_key(record.request, record.place))
    write_atomic(path, canonical_json({"schema": SCHEMA, **encode(CallRecord, record)}) + b"\n")
    return path


def read_record(path: Path) -> CallRecord:
    """
    Read a record.

    Raises `SchemaError` for a file that is no record, `IntegrityError` if its name is not its request's key.
    The outcome is not bound by the name: a journal holds the response's digest.
    """
    document: Any = read_json(path)
    if not isinstance(document, dict) or document.pop("schema", None) != SCHEMA:
        raise SchemaError(f"{path}: not a {SCHEMA} document")
    record: CallRecord = decode(CallRecord, document, str(path))
    if path.stem != record_key(record.request, record.place):
        raise IntegrityError(f"{path}: the request was changed: its digest is not the file's name")
    return record


class RecordingTransport:
    """
    Records every call of another transport.

    A call that was recorded with a response is not made again: after a crash between record and journal, the
    answer that was paid for is used.
    """

    def __init__(self, inner: Transport, folder: Path) -> None:
        self._inner = inner
        self._folder = folder

    def call(
        self, request: ChatRequest, key: CallKey, wall_left_s: float, cancelled: Callable[[], bool]
    ) -> CallOutcome:
        """Return the recorded outcome if it has a response; else make the call and record it."""
        path = record_path(self._folder, record_key(request, key))
        if path.exists():
            earlier = read_record(path).outcome
            if earlier.response is not None:
                return earlier
        outcome = self._inner.call(request, key, wall_left_s, cancelled)
        write_record(self._folder, CallRecord(key, request, outcome))
        return outcome

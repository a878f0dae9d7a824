"""
Record calls as files `NNN-KK.json`, by node and call, and read them. A record has no header and no key.

A record holds the whole request, so that a replay compares what it asks with what was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.agent.llm.wire import CallKey, CallOutcome, ChatRequest
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
    return sha256_bytes(canonical_json(valid_texts(encode(ChatRequest, request))))


def outcome_sha256(outcome: CallOutcome) -> Sha256:
    """Return the sha256 of the canonical outcome."""
    return sha256_bytes(canonical_json(encode(CallOutcome, outcome)))


def record_path(folder: Path, place: CallKey) -> Path:
    """Return the file of a record."""
    return folder / f"{place.node:03d}-{place.call:02d}.json"


def write_record(folder: Path, record: CallRecord) -> Path:
    """
    Write a record atomically; return its path.

    Raises `PrerequisiteError` for a full or read-only disk.
    """
    path = record_path(folder, record.place)
    document = {"schema": SCHEMA, **valid_texts(encode(CallRecord, record))}
    write_atomic(path, canonical_json(document) + b"\n")
    return path


def read_record(path: Path) -> CallRecord:
    """
    Read a record.

    Raises `SchemaError` for a file that is no record, `IntegrityError` if it is the record of another place.
    Nothing else is bound by the name: a journal holds the digests of request and outcome.
    """
    record = decode_record(path)
    if path.name != record_path(path.parent, record.place).name:
        raise IntegrityError(f"{path}: the record of node {record.place.node}, call {record.place.call}")
    return record


def decode_record(path: Path) -> CallRecord:
    """Read a record whatever its file is called. Raises `SchemaError` for a file that is no record."""
    document: Any = read_json(path)
    if not isinstance(document, dict) or document.pop("schema", None) != SCHEMA:
        raise SchemaError(f"{path}: not a {SCHEMA} document")
    record: CallRecord = decode(CallRecord, document, str(path))
    return record


def valid_texts(value: Any) -> Any:
    """Return a JSON value whose texts are valid Unicode: an answer can contain a lone surrogate."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [valid_texts(item) for item in value]
    if isinstance(value, dict):
        return {valid_texts(name): valid_texts(item) for name, item in value.items()}
    return value

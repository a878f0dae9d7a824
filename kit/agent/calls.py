"""The recorded calls of a run: one file `calls/NNN-KK.json` per call, written before its `CallEnded`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from kit.agent.llm.wire import CallKey, CallOutcome, ChatRequest
from kit.core.codec import decode, encode
from kit.core.digest import Sha256, canonical_json, sha256_bytes
from kit.core.errors import SchemaError
from kit.core.files import write_atomic
from kit.core.schema import read_json

CALLS = "calls"


class CallRecords(Protocol):
    """Keeps the outcomes of calls, so that a resumed run does not pay twice."""

    def save(self, key: CallKey, request: ChatRequest, outcome: CallOutcome) -> CallOutcome:
        """Store an outcome durably; return it as `load` will return it. An older one is replaced."""
        ...

    def load(self, key: CallKey, request_sha256: str) -> CallOutcome | None:
        """Return the outcome of a call with exactly this request; None if there is none."""
        ...


def request_sha256(request: ChatRequest) -> Sha256:
    """Return the digest of a request's canonical JSON."""
    return sha256_bytes(canonical_json(_valid(encode(ChatRequest, request))))


def outcome_sha256(outcome: CallOutcome) -> Sha256:
    """Return the digest of an outcome's canonical JSON."""
    return sha256_bytes(canonical_json(encode(CallOutcome, outcome)))


class CallFolder:
    """Call records in a directory. `redact` returns a JSON value without the secrets in its texts."""

    def __init__(self, run: Path, redact: Callable[[Any], Any] = lambda value: value) -> None:
        self._folder, self._redact = run / CALLS, redact

    def save(self, key: CallKey, request: ChatRequest, outcome: CallOutcome) -> CallOutcome:
        """See `CallRecords`."""
        kept = self._redact(_valid(encode(CallOutcome, outcome)))
        document = {
            "request_sha256": request_sha256(request),
            "request": self._redact(_valid(encode(ChatRequest, request))),
            "outcome": kept,
        }
        write_atomic(self._path(key), canonical_json(document) + b"\n")
        return _decoded(kept, self._path(key))

    def load(self, key: CallKey, request_sha256: str) -> CallOutcome | None:
        """See `CallRecords`. Raises `SchemaError` for an invalid file."""
        path = self._path(key)
        if not path.is_file():
            return None
        document = read_json(path)
        if not isinstance(document, dict) or set(document) != {"request_sha256", "request", "outcome"}:
            raise SchemaError(f"{path}: not a recorded call")
        if document["request_sha256"] != request_sha256:
            return None
        return _decoded(document["outcome"], path)

    def _path(self, key: CallKey) -> Path:
        return self._folder / f"{key.node:03d}-{key.call:02d}.json"


def _decoded(document: Any, path: Path) -> CallOutcome:
    outcome: CallOutcome = decode(CallOutcome, document, f"{path}: outcome")
    return outcome


def _valid(value: Any) -> Any:
    """Return a JSON value whose texts are valid Unicode: an answer can contain a lone surrogate."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_valid(item) for item in value]
    if isinstance(value, dict):
        return {_valid(name): _valid(item) for name, item in value.items()}
    return value

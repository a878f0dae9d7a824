"""The in-toto Statement v1 (https://in-toto.io/Statement/v1) of every signed document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kit.core.digest import Sha256
from kit.core.errors import SignatureError
from kit.result import dsse

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


def parse_typed(envelope: dsse.Envelope, *predicate_types: str) -> Any:
    """Parse the payload of a verified envelope. Raises `SignatureError` for an unexpected type."""
    if envelope.payload_type != dsse.PAYLOAD_TYPE:
        raise SignatureError(
            f"the payload type is {envelope.payload_type[:80]!r}, expected {dsse.PAYLOAD_TYPE}"
        )
    document = dsse.parse_canonical(envelope.payload, "payload", is_file=False)
    for key, expected in (("_type", (STATEMENT_TYPE,)), ("predicateType", predicate_types)):
        actual = document.get(key) if isinstance(document, dict) else None
        if actual not in expected:
            raise SignatureError(f"{key} is {str(actual)[:80]!r}, expected {' or '.join(expected)}")
    return document


def wrap(predicate_type: str, subjects: Iterable[tuple[str, Sha256]], predicate: Any) -> dict[str, Any]:
    """Return an in-toto Statement v1 around an encoded predicate. Checks no schema."""
    return {
        "_type": STATEMENT_TYPE,
        "predicateType": predicate_type,
        "subject": [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in subjects],
        "predicate": predicate,
    }

"""The in-toto Statement v1 around any encoded predicate. Signs nothing, checks no schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kit.digest import Sha256

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


def in_toto(predicate_type: str, subjects: Iterable[tuple[str, Sha256]], predicate: Any) -> dict[str, Any]:
    """Return an in-toto Statement v1 around an encoded predicate. Checks no schema."""
    return {
        "_type": STATEMENT_TYPE,
        "predicateType": predicate_type,
        "subject": [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in subjects],
        "predicate": predicate,
    }

"""What every signed document of the kit has in common: how it is read, whose key it names, its type."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from kit.bundle import dsse, folder
from kit.bundle.in_toto import STATEMENT_TYPE
from kit.bundle.keys import PublicKey, Trusted
from kit.errors import PrerequisiteError, SchemaError, SignatureError


def read_file(path: Path) -> bytes:
    """
    Return the bytes of a file that may be a signed document.

    Raises `PrerequisiteError` if it cannot be read, `SchemaError` if it is not a regular file or larger than
    `dsse.MAX_BUNDLE`.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SchemaError(f"{path} is not a regular file")
        with path.open("rb") as f:
            data = f.read(dsse.MAX_BUNDLE + 1)
    except OSError as e:
        raise PrerequisiteError(f"cannot read {path}: {e.strerror}") from e
    if len(data) > dsse.MAX_BUNDLE:
        raise SchemaError(f"{path} is larger than {dsse.MAX_BUNDLE} bytes")
    return data


def find_key(document: Path, hint: str, trusted: Trusted) -> tuple[PublicKey, bool]:
    """
    Return the key that a document names, and whether the reader trusts it or it only lies beside.

    Raises `SignatureError` if it is neither.
    """
    key = trusted.get(hint)
    if key is not None:
        return key, True
    beside = folder.signer_beside(document, hint)
    if beside is not None:
        return beside, False
    raise SignatureError(
        f"no key with the id {hint[:80]!r} is trusted, and {folder.SIGNER} beside the bundle is not it",
        "ask the signer for the public key, then: speedrun keys trust FILE",
    )


def typed(envelope: dsse.Envelope, predicate_type: str) -> Any:
    """Parse the payload of a verified envelope. Raises `SignatureError` for another type than is expected."""
    if envelope.payload_type != dsse.PAYLOAD_TYPE:
        raise SignatureError(f"the payload type is {envelope.payload_type[:80]!r}, not {dsse.PAYLOAD_TYPE}")
    document = dsse.parse_canonical(envelope.payload, "payload")
    for key, expected in (("_type", STATEMENT_TYPE), ("predicateType", predicate_type)):
        found = document.get(key) if isinstance(document, dict) else None
        if found != expected:
            raise SignatureError(f"{key} is {str(found)[:80]!r}, not {expected}")
    return document

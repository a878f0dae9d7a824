"""
Write and read a signed list of revoked keys.

A list is a Statement in the same envelope as a bundle. `kit.result.keys` decides who may revoke which key.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kit.core.codec import decode, encode
from kit.core.digest import Sha256, canonical_json
from kit.core.errors import SchemaError, SignatureError, UsageError
from kit.core.schema import validate
from kit.core.text import one_line
from kit.result import dsse
from kit.result.intoto import parse_typed, wrap

FILE = "revoked.json"
"""Name of the list in a key directory and in a repository of entries."""
PREDICATE_TYPE = "urn:speedrun-kit:revocations:v1"
SCHEMA = "revocations.v1"
MAX_REASON = 300


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revoked key. Its results are not trusted either, whatever their date."""

    key_id: Sha256
    reason: str
    since: str | None
    """Day (ISO 8601) since which others may have used the key; None if unknown."""
    on: str
    """Day of the entry (ISO 8601, UTC)."""

    def describe(self) -> str:
        """Return reason and date on one printable line."""
        reason = one_line(self.reason)
        return f"{reason}, since {self.since}" if self.since else f"{reason}, revoked on {self.on}"


@dataclass(frozen=True, slots=True)
class RevocationBody:
    """The predicate of a revocation list."""

    revoked: tuple[Revocation, ...]


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A revocation list with a verified signature."""

    signer: Sha256
    entries: tuple[Revocation, ...]
    """Oldest first. Entries after the signer's own revocation are dropped: the thief may have added them."""


class Verifier(Protocol):
    """A public key that verifies signatures."""

    @property
    def key_id(self) -> Sha256:
        """Return the key's name."""

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raise `SignatureError` unless the signature over `data` is this key's."""


def new_revocation(key_id: Sha256, reason: str, since: str | None, on: datetime.date) -> Revocation:
    """Return a new entry. Raises `UsageError` for an invalid reason or date."""
    if not reason or one_line(reason, MAX_REASON) != reason:
        raise UsageError("the reason must be one printable line", f"use at most {MAX_REASON} characters")
    if since is not None:
        try:
            since = datetime.date.fromisoformat(since).isoformat()
        except ValueError as e:
            raise UsageError(
                f"{one_line(since, 40)!r} is not a date",
                "write the date as YYYY-MM-DD, for example 2026-11-28",
            ) from e
    return Revocation(key_id, reason, since, on.isoformat())


def revocation_statement(entries: Sequence[Revocation]) -> bytes:
    """Return the bytes to sign. Raises `SchemaError` for more entries than the schema allows."""
    subjects = ((entry.key_id, entry.key_id) for entry in entries)
    document = wrap(PREDICATE_TYPE, subjects, encode(RevocationBody, RevocationBody(tuple(entries))))
    validate(SCHEMA, document, FILE)
    return canonical_json(document)


def read_revocations(path: Path, find_key: Callable[[str], Verifier | None]) -> RevocationList:
    """
    Verify a list with the key that `find_key` returns for the key id in the list.

    Raises `SignatureError` if there is no such key or the signature is invalid, `SchemaError` for an invalid
    document, `PrerequisiteError` if the file cannot be read.
    """
    envelope = dsse.envelope_of(dsse.parse_canonical(_read(path), FILE))
    key = find_key(envelope.hint)
    if key is None:
        raise SignatureError(
            f"{FILE} is signed by an untrusted key: {one_line(envelope.hint, 80)}",
            "remove the file, or trust the key: speedrun keys trust FILE",
        )
    key.verify(envelope.signature, dsse.pae(envelope.payload_type, envelope.payload))
    document = parse_typed(envelope, PREDICATE_TYPE)
    validate(SCHEMA, document, FILE)
    body: RevocationBody = decode(RevocationBody, document["predicate"], "$.predicate")
    named = [(s["name"], s["digest"]["sha256"]) for s in document["subject"]]
    ids = [entry.key_id for entry in body.revoked]
    if named != [(key_id, key_id) for key_id in ids] or len(set(ids)) != len(ids):
        raise SchemaError(
            f"{FILE}: the subjects must be the revoked keys, in the same order and without duplicates"
        )
    last = ids.index(key.key_id) + 1 if key.key_id in ids else len(ids)
    return RevocationList(key.key_id, body.revoked[:last])


def _read(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise SchemaError(f"{path} is not a regular file")
    return dsse.read_file(path)

"""
`capsule.json`: what the packer signs about a capsule, as an in-toto Statement in a DSSE envelope.

Its subjects are the payload manifest, which names every file by sha256, and the other tag files. Its
predicate says whose word each file is; a reader works that out again (`kit.capsule.content`) and compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from kit.capsule import bag
from kit.core.codec import decode, encode
from kit.core.digest import Sha256, canonical_json, sha256_bytes
from kit.core.errors import DigestMismatch, IntegrityError, SignatureError
from kit.core.schema import validate
from kit.result import dsse, intoto
from kit.result.keys import PublicKey, Signer, Trusted, public_key, seal
from kit.result.predicate import Verdict
from kit.result.revocations import Revocation
from kit.values.profile import Profile
from kit.values.software import Kit

PREDICATE_TYPE = "urn:speedrun-kit:capsule:v1"
SCHEMA = "capsule.v1"
SUBJECTS = (bag.RUN_MD, bag.INFO, bag.BAGIT, bag.MANIFEST)


class Word(StrEnum):
    """Who vouches for a file of a capsule."""

    RESULT = "result"
    """The signed result names its sha256."""
    PACKER = "packer"
    """Nobody but the packer."""


@dataclass(frozen=True, slots=True)
class PackedRun:
    """The run in a capsule."""

    id: str
    bundle_sha256: Sha256
    """Of `data/run/result.json`."""
    task: str
    profile: Profile
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Packer:
    """Who packed a capsule, with what."""

    key_id: Sha256
    kit: Kit
    python: str
    """CPython that wheels in `data/kit/` are for, for example `3.11`."""


@dataclass(frozen=True, slots=True)
class CapsulePart:
    """One file."""

    path: str
    word: Word


@dataclass(frozen=True, slots=True)
class CapsuleClaims:
    """What a packer says."""

    run: PackedRun
    packer: Packer
    parts: tuple[CapsulePart, ...]
    """`RUN.md` and every file of the payload, sorted by path."""


@dataclass(frozen=True, slots=True)
class SignedCapsule:
    """What a packer says, under a signature that was verified."""

    claims: CapsuleClaims
    trusted: bool
    """False if the packer's key is only the one that lies in the capsule, or was revoked."""
    revoked: Revocation | None = None
    """Why the packer's key is not trusted any more."""


def sign_capsule(claims: CapsuleClaims, tags: Mapping[str, bytes], signer: Signer) -> dict[str, bytes]:
    """Return the files `bag.SIGNED` for these tag files. Raises `SchemaError` for claims of another form."""
    subjects = [(name, sha256_bytes(tags[name])) for name in SUBJECTS]
    document = intoto.wrap(PREDICATE_TYPE, subjects, encode(CapsuleClaims, claims))
    validate(SCHEMA, document, bag.STATEMENT)
    return {bag.STATEMENT: seal(canonical_json(document), signer), bag.PACKER: signer.public.pem}


def read_signed(tags: Mapping[str, bytes], trusted: Trusted) -> SignedCapsule:
    """
    Verify `capsule.json` against the tag files of its capsule and return what it says.

    Raises `SignatureError` for a bad signature, key or envelope, `SchemaError` for another form,
    `DigestMismatch` if a tag file is not the one that was signed. All name `capsule.json`.
    """
    try:
        return _read_signed(tags, trusted)
    except IntegrityError as e:
        raise type(e)(f"{bag.STATEMENT}: {e.message}", e.hint) from e


def _read_signed(tags: Mapping[str, bytes], trusted: Trusted) -> SignedCapsule:
    envelope = dsse.envelope_of(dsse.parse_canonical(tags[bag.STATEMENT], "envelope"))
    if not envelope.with_keyid:
        raise SignatureError("the envelope has no keyid")
    key = _key(envelope.hint, tags[bag.PACKER])
    key.verify(envelope.signature, dsse.pae(envelope.payload_type, envelope.payload))
    document = intoto.parse_typed(envelope, PREDICATE_TYPE)
    validate(SCHEMA, document, "payload")
    named = [(s["name"], s["digest"]["sha256"]) for s in document["subject"]]
    if [name for name, _ in named] != list(SUBJECTS):
        raise SignatureError(f"the subjects are not {', '.join(SUBJECTS)}")
    for name, sha256 in named:
        if sha256_bytes(tags[name]) != sha256:
            raise DigestMismatch(f"{name} is not the file that the packer signed", "get the capsule again")
    claims: CapsuleClaims = decode(CapsuleClaims, document["predicate"], "$.predicate")
    if claims.packer.key_id != key.key_id:
        raise SignatureError(f"names the packer's key {claims.packer.key_id}, but {key.key_id} signed it")
    return SignedCapsule(claims, trusted.trusts(key.key_id), trusted.revocation(key.key_id))


def _key(hint: str, pem: bytes) -> PublicKey:
    key = public_key(pem, bag.PACKER)
    if key.key_id != hint or key.pem != pem:
        raise SignatureError(f"{bag.PACKER} is not the key {hint[:80]!r} that signed it, in its one spelling")
    return key

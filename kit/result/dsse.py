"""
The bytes of a bundle: DSSE envelope in a Sigstore bundle v0.3, one spelling only. Knows no keys.

See: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md and sigstore/protobuf-specs.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from kit.core.digest import canonical_json
from kit.core.errors import SchemaError, SignatureError
from kit.core.schema import parse_json

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_BUNDLE = 4 << 20
"""Bytes of the largest bundle."""
MAX_VALUES = 120_000
"""Objects, arrays and what is in them, of one signed document; no schema of one allows 100,000."""
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""See: SEC 2, secp256r1, n."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a bundle holds. `payload` is kept as the bytes that were signed and is never written anew."""

    payload: bytes
    payload_type: str
    signature: bytes
    """ECDSA over P-256, DER, low S."""
    hint: str
    """Names the signer's key: sha256 of its SubjectPublicKeyInfo in DER."""
    with_keyid: bool = True
    """False for the shape that version 0.1 wrote."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that a DSSE signature covers."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def dump(envelope: Envelope) -> bytes:
    """Return the bundle's bytes: RFC 8785, no line end. Raises `SchemaError` beyond `MAX_BUNDLE`."""
    data = canonical_json(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": envelope.hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(envelope.payload).decode("ascii"),
                "payloadType": envelope.payload_type,
                "signatures": [
                    {"keyid": envelope.hint, "sig": base64.b64encode(envelope.signature).decode("ascii")}
                ],
            },
        }
    )
    if len(data) > MAX_BUNDLE:
        raise SchemaError(f"the bundle would have {len(data)} bytes, more than {MAX_BUNDLE}")
    return data


def parse_canonical(data: bytes, where: str) -> Any:
    """
    Parse JSON that must be spelled as RFC 8785 spells it, so that one value has one sequence of bytes.

    That leaves no room for duplicate keys, white space, other escapes or a second document behind the first.
    Raises `SchemaError` naming `where`.
    """
    document = parse_json(data, where, MAX_VALUES)
    if canonical_json(_doubles(document)) != data:
        raise SchemaError(f"{where}: not in canonical form (RFC 8785)")
    return document


def _doubles(value: Any) -> Any:
    """Turn integers beyond 2**53 into doubles: RFC 8785 spells the double 1e20 with 21 digits."""
    if type(value) is int and abs(value) > 2**53 - 1:
        try:
            return float(value)
        except OverflowError as e:
            raise SchemaError("a number is too large") from e
    if isinstance(value, list):
        return [_doubles(v) for v in value]
    if isinstance(value, dict):
        return {k: _doubles(v) for k, v in value.items()}
    return value


def envelope_of(document: Any) -> Envelope:
    """
    Return the envelope of a parsed bundle, which must have this project's shape exactly.

    Exactly one signature, base64 with canonical padding bits, the signature in DER with low S. There are two
    shapes: that of version 0.1, and the one with `keyid` and an empty `tlogEntries`, which other DSSE and
    Sigstore readers ask for; no mixture. The signature is not verified, and the types are not compared.
    Raises `SignatureError`.
    """
    material, envelope = _keys(document, "bundle", "verificationMaterial", "dsseEnvelope", media=True)
    old = isinstance(material, dict) and "tlogEntries" not in material
    if old:
        (key,) = _keys(material, "verificationMaterial", "publicKey")
    else:
        key, entries = _keys(material, "verificationMaterial", "publicKey", "tlogEntries")
        if entries != []:
            raise SignatureError("verificationMaterial.tlogEntries: expected an empty array")
    (hint,) = _keys(key, "publicKey", "hint")
    payload, payload_type, signatures = _keys(
        envelope, "dsseEnvelope", "payload", "payloadType", "signatures"
    )
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise SignatureError("dsseEnvelope.signatures: expected exactly one signature")
    if old:
        (sig,) = _keys(signatures[0], "signatures[0]", "sig")
    else:
        named, sig = _keys(signatures[0], "signatures[0]", "keyid", "sig")
        if _text(named, "signatures[0].keyid") != _text(hint, "publicKey.hint"):
            raise SignatureError("signatures[0].keyid: expected the hint of the public key")
    signature = _base64(sig, "signatures[0].sig")
    _low_s(signature)
    return Envelope(
        payload=_base64(payload, "dsseEnvelope.payload"),
        payload_type=_text(payload_type, "dsseEnvelope.payloadType"),
        signature=signature,
        hint=_text(hint, "publicKey.hint"),
        with_keyid=not old,
    )


def low_s(signature: bytes) -> bytes:
    """Return the one of (r, s) and (r, n - s) that has the lower s, in DER; both verify."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, P256_ORDER - s))


def _low_s(signature: bytes) -> None:
    try:
        canonical = low_s(signature)
    except ValueError as e:
        raise SignatureError("the signature is no DER sequence of two integers") from e
    if canonical != signature:
        raise SignatureError("the signature is not in its canonical form (DER, low S)")


def _keys(value: Any, where: str, *names: str, media: bool = False) -> tuple[Any, ...]:
    expected = {*names, "mediaType"} if media else set(names)
    if not isinstance(value, dict) or set(value) != expected:
        raise SignatureError(f"{where}: expected an object with the keys {sorted(expected)}")
    if media and value["mediaType"] != MEDIA_TYPE:
        raise SignatureError(f"mediaType is not {MEDIA_TYPE}")
    return tuple(value[name] for name in names)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise SignatureError(f"{where}: expected text")
    return value


def _base64(value: Any, where: str) -> bytes:
    try:
        data = base64.b64decode(_text(value, where), validate=True)
    except (binascii.Error, ValueError) as e:
        raise SignatureError(f"{where}: not base64") from e
    if base64.b64encode(data).decode("ascii") != value:
        raise SignatureError(f"{where}: base64 with other padding bits than zero")
    return data

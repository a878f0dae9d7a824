"""
Encode and decode a bundle: a DSSE envelope in a Sigstore bundle v0.3, in canonical JSON.

See: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md and sigstore/protobuf-specs.
"""

from __future__ import annotations

import base64
import binascii
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from kit.core.digest import canonical_json
from kit.core.errors import SchemaError, SignatureError
from kit.core.reading import open_file, unreadable
from kit.core.schema import parse_json

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_BUNDLE = 4 << 20
"""Bytes of the largest bundle."""
MAX_VALUES = 120_000
"""Objects, arrays and what is in them, of one signed document; no schema of one allows 100,000."""
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""See: SEC 2, secp256r1, n."""


_WHITE_SPACE = re.compile(rb'("(?:[^"\\]++|\\.)*+")|[ \t\r\n]+')
"""White space of JSON, or a text, in which it means something."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The content of a bundle. `payload` keeps the signed bytes and is never encoded again."""

    payload: bytes
    payload_type: str
    signature: bytes
    """ECDSA over P-256, DER, low S."""
    hint: str
    """Id of the signer's key: sha256 of its SubjectPublicKeyInfo in DER."""
    with_keyid: bool = True
    """False for the format of version 0.1."""


def read_file(path: Path) -> bytes:
    """
    Return the bytes of a file that may be a signed document.

    Raises `PrerequisiteError` if it cannot be read, `SchemaError` if it is not a regular file or larger than
    `MAX_BUNDLE`.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SchemaError(f"{path} is not a regular file")
        with open_file(path) as f:
            data = f.read(MAX_BUNDLE + 1)
    except OSError as e:
        raise unreadable(path, e) from e
    if len(data) > MAX_BUNDLE:
        raise SchemaError(f"{path} is larger than {MAX_BUNDLE} bytes")
    return data


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that a DSSE signature covers."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def dump(envelope: Envelope) -> bytes:
    """Encode a bundle: RFC 8785, without a final newline. Raises `SchemaError` beyond `MAX_BUNDLE`."""
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
        raise SchemaError(f"the bundle is too large: {len(data)} bytes, the maximum is {MAX_BUNDLE}")
    return data


def parse_canonical(data: bytes, where: str, is_file: bool = True) -> Any:
    """
    Parse JSON that must be in canonical form (RFC 8785), so that each value has one encoding.

    This refuses duplicate keys, white space, other escapes and trailing data. Raises `SchemaError` naming
    `where`. For a file, the message says so if only white space differs.
    """
    document = parse_json(data, where, MAX_VALUES)
    canonical = canonical_json(_doubles(document))
    if canonical == data:
        return document
    if is_file and _WHITE_SPACE.sub(rb"\1", data) == canonical:
        raise SchemaError(
            f"{where}: the file was re-formatted: same content, other bytes"
            " (only white space differs from the canonical form)",
            "ask for the original file, or copy it again without a tool that formats JSON",
        )
    raise SchemaError(f"{where}: not in canonical form (RFC 8785)")


def _doubles(value: Any) -> Any:
    """Convert integers beyond 2**53 to doubles: RFC 8785 writes the double 1e20 with 21 digits."""
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
    Return the envelope of a parsed bundle, which must have exactly this project's format.

    It has one signature in DER with low S, and base64 with canonical padding bits. There are two formats:
    that of version 0.1, and the later one with `keyid` and an empty `tlogEntries`, which other DSSE and
    Sigstore readers require. Mixtures are refused. Neither signature nor types are verified here. Raises
    `SignatureError`.
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
            raise SignatureError("signatures[0].keyid: expected the same value as publicKey.hint")
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
    """Return the signature with the lower of s and n - s, in DER; both are valid."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, P256_ORDER - s))


def _low_s(signature: bytes) -> None:
    try:
        canonical = low_s(signature)
    except ValueError as e:
        raise SignatureError("the signature is not a DER sequence of two integers") from e
    if canonical != signature:
        raise SignatureError("the signature is not in its canonical form (DER, low S)")


def _keys(value: Any, where: str, *names: str, media: bool = False) -> tuple[Any, ...]:
    expected = {*names, "mediaType"} if media else set(names)
    if not isinstance(value, dict) or set(value) != expected:
        raise SignatureError(f"{where}: expected an object with the keys {sorted(expected)}")
    if media and value["mediaType"] != MEDIA_TYPE:
        raise SignatureError(f"mediaType: expected {MEDIA_TYPE}")
    return tuple(value[name] for name in names)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise SignatureError(f"{where}: expected text")
    return value


def _base64(value: Any, where: str) -> bytes:
    try:
        data = base64.b64decode(_text(value, where), validate=True)
    except (binascii.Error, ValueError) as e:
        raise SignatureError(f"{where}: invalid base64") from e
    if base64.b64encode(data).decode("ascii") != value:
        raise SignatureError(f"{where}: base64 with nonzero padding bits")
    return data

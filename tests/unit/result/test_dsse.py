"""The bytes of a bundle."""

import base64

import pytest

from kit.core.digest import canonical_json
from kit.core.errors import SchemaError, SignatureError
from kit.result import dsse


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        (
            "http://example.com/HelloWorld",
            b"hello world",
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world",
        ),
        ("", b"", b"DSSEv1 0  0 "),
        ("\u00e4", "\u00f6\u00fc".encode(), b"DSSEv1 2 \xc3\xa4 4 \xc3\xb6\xc3\xbc"),
    ],
    ids=["the protocol's test vector", "empty", "lengths count bytes"],
)
def test_pre_authentication_encoding(kind, payload, expected):
    """See: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, test vectors."""
    assert dsse.pae(kind, payload) == expected


def test_an_envelope_survives_its_bytes(good):
    envelope = dsse.envelope_of(dsse.parse_canonical(good, "bundle"))
    assert dsse.dump(envelope) == good


def test_a_bundle_beyond_the_limit_is_not_written(make):
    envelope = dsse.Envelope(b"x" * dsse.MAX_BUNDLE, dsse.PAYLOAD_TYPE, b"", "hint")
    with pytest.raises(SchemaError, match="too large"):
        dsse.dump(envelope)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1}\n',
        b'{"a":1.0}',
        b'{"a":1e0}',
        b'{"a":-0}',
        b'"\\u0061"',
        b'"\\/"',
    ],
)
def test_another_spelling_of_the_same_value_is_refused(data):
    with pytest.raises(SchemaError, match="canonical"):
        dsse.parse_canonical(data, "it")


@pytest.mark.parametrize(
    "value", [1e20, -1e20, 2.0**53, 1e21, 1.7976931348623157e308, 5e-324, 123456789012345680000.0]
)
def test_doubles_that_are_spelled_like_integers_are_canonical(value):
    """RFC 8785 spells 1e20 with 21 digits, which Python reads back as an integer."""
    data = canonical_json({"x": value})
    assert float(dsse.parse_canonical(data, "it")["x"]) == value


@pytest.mark.parametrize("data", [b"9007199254740993", b"1" + b"0" * 400])
def test_integers_that_are_no_doubles_are_refused(data):
    with pytest.raises(SchemaError):
        dsse.parse_canonical(data, "it")


def _set(path, value):
    def change(document):
        *parents, last = path
        for key in parents:
            document = document[key]
        document[last] = value

    return change


SIG = ("dsseEnvelope", "signatures", 0, "sig")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(("mediaType",), "application/vnd.dev.sigstore.bundle.v0.2+json"), "mediaType"),
        (_set(("mediaType",), None), "mediaType"),
        (_set(("extra",), 1), "bundle: expected an object with the keys"),
        (_set(("verificationMaterial", "tlogEntries"), [1]), "tlogEntries: expected an empty array"),
        (_set(("verificationMaterial", "timestampVerificationData"), {}), "verificationMaterial: expected"),
        (_set(("verificationMaterial", "publicKey", "rawBytes"), ""), "publicKey: expected"),
        (_set(("verificationMaterial", "publicKey", "hint"), 1), "hint: expected text"),
        (_set(("dsseEnvelope", "payload"), 1), "payload: expected text"),
        (_set(("dsseEnvelope", "payload"), "e30"), "payload: invalid base64"),
        (_set(("dsseEnvelope", "payload"), "e31="), "payload: base64 with nonzero padding bits"),
        (_set(("dsseEnvelope", "payload"), "e3\n0="), "payload: invalid base64"),
        (_set(("dsseEnvelope", "payload"), "_-=="), "payload: invalid base64"),
        (_set(("dsseEnvelope", "payload"), "\u00e9A=="), "payload: invalid base64"),
        (_set(("dsseEnvelope", "payloadType"), []), "payloadType: expected text"),
        (_set(("dsseEnvelope", "signatures"), []), "exactly one signature"),
        (_set(("dsseEnvelope", "signatures"), {}), "exactly one signature"),
        (
            _set(("dsseEnvelope", "signatures", 0, "keyid"), ""),
            r"signatures\[0\].keyid: expected the same value as publicKey.hint",
        ),
        (_set(("dsseEnvelope", "signatures", 0, "cert"), ""), r"signatures\[0\]: expected"),
        (_set(SIG, ""), "not a DER sequence"),
        (_set(SIG, base64.b64encode(b"x" * 70).decode()), "not a DER sequence"),
    ],
)
def test_another_shape_is_refused(good, make, change, message):
    changed = dsse.parse_canonical(make.edited(good, change), "bundle")
    with pytest.raises(SignatureError, match=message):
        dsse.envelope_of(changed)


def test_der_with_a_long_length_or_bytes_behind_it_is_refused(good, make):
    signature = dsse.envelope_of(dsse.parse_canonical(good, "bundle")).signature
    for spelled in (signature + b"\0", b"\x30\x81" + signature[1:]):
        text = base64.b64encode(spelled).decode()
        changed = dsse.parse_canonical(make.edited(good, _set(SIG, text)), "bundle")
        with pytest.raises(SignatureError, match="DER"):
            dsse.envelope_of(changed)


def test_both_forms_of_a_signature_have_one_low_form(make):
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

    signature = make.SIGNER.sign(b"data")
    r, s = decode_dss_signature(signature)
    high = encode_dss_signature(r, dsse.P256_ORDER - s)
    make.SIGNER.public.verify(high, b"data")
    assert dsse.low_s(high) == dsse.low_s(signature) == signature

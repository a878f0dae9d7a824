"""
Encode a predicate as an in-toto Statement, the bytes to sign, and decode it again.

Signing and verification are in `kit.result.keys` and `kit.result.verify`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kit.core.codec import decode, encode
from kit.core.digest import Sha256, canonical_json
from kit.core.errors import SchemaError
from kit.core.schema import validate
from kit.result.intoto import wrap
from kit.result.predicate import Predicate
from kit.result.version1 import upgraded

PREDICATE_TYPE = "urn:speedrun-kit:result:v2"
"""A URN, because a name under a domain belongs to the owner of the domain.

cosign's `--type` accepts it: other than short names, cosign passes types to Go's `url.ParseRequestURI`, which
accepts opaque URIs (`cmd/cosign/cli/options/predicate.go`).
"""
PREDICATE_TYPE_V1 = "urn:speedrun-kit:result:v1"
"""The type of version 0.1. It stays readable, and is no longer written."""
SCHEMAS = {PREDICATE_TYPE: "result.v2", PREDICATE_TYPE_V1: "result.v1"}
"""Schema by predicate type."""

SUBMISSION = "submission"
"""Name of the subject and of the directory next to the bundle with the submission's files."""
LOG = "guest.log"
"""Name of the subject and of the file next to the bundle with the guest's raw output."""
STAMPS = "stamps"
"""Name of the subject and of the file next to the bundle with the host's stamp of each line."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """The digests of the files next to the bundle."""

    submission: Sha256
    """`kit.core.digest.tree_digest` of the submission's files."""
    log: Sha256
    stamps: Sha256


@dataclass(frozen=True, slots=True)
class Statement:
    """A predicate and its subjects."""

    predicate: Predicate
    subjects: Subjects


def statement(predicate: Predicate, subjects: Subjects) -> bytes:
    """
    Return the bytes to sign: an in-toto Statement v1 in canonical JSON.

    Raises `SchemaError` if the result violates the schema, because verifiers would refuse it. Long prose is
    cut. Whether the values are true or consistent is not checked.
    """
    named = ((LOG, subjects.log), (STAMPS, subjects.stamps), (SUBMISSION, subjects.submission))
    document = wrap(PREDICATE_TYPE, named, encode(Predicate, predicate))
    validate(SCHEMAS[PREDICATE_TYPE], document, "result")
    return canonical_json(document)


def parse(document: Any) -> Statement:
    """
    Decode a parsed Statement, the inverse of `statement`; upgrade one of version 0.1.

    Raises `SchemaError` naming the JSON path. Bounds are not checked here; the schema has them.
    """
    try:
        digests = {subject["name"]: Sha256(subject["digest"]["sha256"]) for subject in document["subject"]}
        subjects = Subjects(submission=digests[SUBMISSION], log=digests[LOG], stamps=digests[STAMPS])
        body = document["predicate"]
        if document["predicateType"] == PREDICATE_TYPE_V1:
            body = upgraded(body)
    except (KeyError, TypeError) as e:
        raise SchemaError(f"$.subject: expected the subjects {LOG}, {STAMPS} and {SUBMISSION}: {e}") from e
    predicate: Predicate = decode(Predicate, body, "$.predicate")
    return Statement(predicate=predicate, subjects=subjects)

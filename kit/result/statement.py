"""
The in-toto Statement around a predicate: the bytes that get signed, and their way back into values.

Signs nothing, verifies nothing, reads no file.
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
"""A URN, because a name under somebody's domain would belong to whoever holds the domain.

cosign's `--type` takes it: whatever is no short name goes through Go's `url.ParseRequestURI`, which accepts
opaque URIs (`cmd/cosign/cli/options/predicate.go`).
"""
PREDICATE_TYPE_V1 = "urn:speedrun-kit:result:v1"
"""What version 0.1 wrote. It is read for ever, and never written; kits of 0.1 refuse the new type."""
SCHEMAS = {PREDICATE_TYPE: "result.v2", PREDICATE_TYPE_V1: "result.v1"}
"""The predicate types that are read, and their schemas."""

SUBMISSION = "submission"
"""Name of the subject, and of the folder beside the bundle, that holds the submission's files."""
LOG = "guest.log"
"""Name of the subject, and of the file beside the bundle, that holds the guest's output as it came."""
STAMPS = "stamps"
"""Name of the subject, and of the file beside the bundle, that holds the host's stamp of each line."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """The small files that travel beside the bundle, by digest."""

    submission: Sha256
    """`kit.core.digest.tree_digest` of the submission's files."""
    log: Sha256
    stamps: Sha256


@dataclass(frozen=True, slots=True)
class Statement:
    """A predicate and what it is about."""

    predicate: Predicate
    subjects: Subjects


def statement(predicate: Predicate, subjects: Subjects) -> bytes:
    """
    Return the bytes to sign: an in-toto Statement v1 in canonical JSON.

    Raises `SchemaError` if it would not satisfy the schema, so that nothing is signed which no verifier
    accepts. Prose is cut, not refused. Whether the values are true or consistent is not checked.
    """
    named = ((LOG, subjects.log), (STAMPS, subjects.stamps), (SUBMISSION, subjects.submission))
    document = wrap(PREDICATE_TYPE, named, encode(Predicate, predicate))
    validate(SCHEMAS[PREDICATE_TYPE], document, "result")
    return canonical_json(document)


def parse(document: Any) -> Statement:
    """
    Return the values of a parsed Statement, the inverse of `statement`; one of version 0.1 is completed.

    Raises `SchemaError` naming the JSON path. Bounds are not checked here; the schema has them.
    """
    try:
        digests = {subject["name"]: Sha256(subject["digest"]["sha256"]) for subject in document["subject"]}
        subjects = Subjects(submission=digests[SUBMISSION], log=digests[LOG], stamps=digests[STAMPS])
        body = document["predicate"]
        if document["predicateType"] == PREDICATE_TYPE_V1:
            body = upgraded(body)
    except (KeyError, TypeError) as e:
        raise SchemaError(f"$.subject: not the three files that a result is about: {e}") from e
    predicate: Predicate = decode(Predicate, body, "$.predicate")
    return Statement(predicate=predicate, subjects=subjects)

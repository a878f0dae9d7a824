"""
Verification of a bundle, in this order; the number of the step that refuses begins the message.

0. Size and spelling: a regular file of at most 4 MiB, JSON in canonical form (RFC 8785).
1. Shape: Sigstore bundle v0.3 with one DSSE signature; strict base64; DER with low S.
2. Key: the hint names a key that the reader trusts, or at least the one that lies beside the bundle.
3. Signature: ECDSA P-256 with SHA-256 over DSSE's pre-authentication encoding.
4. Types: payload type, Statement type and predicate type; the payload in canonical form.
5. Schema: `result.v2.schema.json` or, for a result of version 0.1, `result.v1.schema.json`.
6. Files: submission, log and stamps beside the bundle have the digests of the subjects.
7. Consistency: what can be derived again is: claims and counts of lines from the log, the verdict, the sums.

Nothing of the payload is parsed before step 3 has passed. Not checked: that the run happened, that the
operator's clock is right, that the image, the data and the record's manifest are those of the benchmark, and
that the files beside the bundle stay unchanged while they are read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core.digest import Sha256
from kit.core.errors import DigestMismatch, IntegrityError, SchemaError, SignatureError
from kit.core.schema import validate
from kit.result import derive, dsse, folder, intoto, signed
from kit.result.appraisal import verdict
from kit.result.appraisal.trust import FIRST_RULES
from kit.result.keys import Trusted
from kit.result.predicate import Predicate
from kit.result.revocations import Revocation
from kit.result.statement import (
    LOG,
    PREDICATE_TYPE_V1,
    SCHEMAS,
    STAMPS,
    SUBMISSION,
    Statement,
    Subjects,
    parse,
)
from kit.values.log import read_run
from kit.values.run_result import Point, RunStatus

STEPS = (
    "size and spelling",
    "shape",
    "key",
    "signature",
    "types",
    "schema",
    "files beside the bundle",
    "consistency",
)
"""What each number checks."""


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """A bundle whose bytes are what its signer signed."""

    path: Path
    statement: Statement
    document: Mapping[str, Any]
    """The statement as it was signed; `statement` has one of version 0.1 in today's form."""
    key_id: Sha256
    trusted: bool
    """False if the key is only the one that lies beside the bundle, or was revoked."""
    unchecked: tuple[int, ...]
    """Steps that the reader left out on purpose."""
    revoked: Revocation | None = None
    """Why the key is not trusted any more."""

    @property
    def predicate(self) -> Predicate:
        """What the signer says."""
        return self.statement.predicate


def open_bundle(path: Path, trusted: Trusted, bundle_only: bool = False) -> VerifiedBundle:
    """
    Verify a bundle, given by its path or its folder, and return what it says.

    `bundle_only` leaves out step 6 and the part of step 7 that needs the files beside the bundle. Raises
    `SignatureError`, `SchemaError` or `DigestMismatch` whose message begins with `step N:`,
    `PrerequisiteError` if there is no bundle.
    """
    bundle = folder.locate(path)
    with _step(0):
        document = dsse.parse_canonical(signed.read_file(bundle), bundle.name)
    with _step(1):
        envelope = dsse.envelope_of(document)
    with _step(2):
        key, known = signed.find_key(bundle, envelope.hint, trusted)
    with _step(3):
        key.verify(envelope.signature, dsse.pae(envelope.payload_type, envelope.payload))
    with _step(4):
        claimed = intoto.parse_typed(envelope, *SCHEMAS)
        _require_one_form(envelope, claimed["predicateType"])
    with _step(5):
        validate(SCHEMAS[claimed["predicateType"]], claimed, "payload")
        statement = parse(claimed)
    if not bundle_only:
        with _step(6):
            _compare_files(bundle.parent, statement)
    with _step(7):
        _compare_statement(statement)
        if not bundle_only:
            _compare_log(bundle.parent, statement)
    unchecked = (6,) if bundle_only else ()
    revoked = trusted.revocation(key.key_id)
    return VerifiedBundle(bundle, statement, claimed, key.key_id, known, unchecked, revoked)


def _require_one_form(envelope: dsse.Envelope, predicate_type: str) -> None:
    """Version 0.1 wrote its predicate in its envelope, later ones write theirs: there is no third form."""
    if envelope.with_keyid is (predicate_type == PREDICATE_TYPE_V1):
        raise SignatureError(f"a predicate {predicate_type} does not belong into an envelope of this shape")


@contextlib.contextmanager
def _step(number: int) -> Iterator[None]:
    """Put the number in front of what the block raises, and keep its kind."""
    try:
        yield
    except (SignatureError, SchemaError, DigestMismatch) as e:
        raise type(e)(f"step {number}: {e.message}", e.hint) from e
    except IntegrityError as e:
        raise DigestMismatch(f"step {number}: {e.message}", e.hint) from e


def _compare_files(where: Path, statement: Statement) -> None:
    files = folder.submission_files(where)
    if files != tuple(sorted(statement.predicate.inputs.submission, key=lambda f: f.name)):
        raise DigestMismatch(
            f"the files in {where / SUBMISSION} are not the submission that ran", _files_hint(where)
        )
    present = folder.subjects(where)
    for name, promised, actual in _pairs(statement.subjects, present):
        if promised != actual:
            raise DigestMismatch(f"{where / name} has sha256 {actual}, not {promised}", _files_hint(where))


def _pairs(promised: Subjects, present: Subjects) -> Iterator[tuple[str, Sha256, Sha256]]:
    yield SUBMISSION, promised.submission, present.submission
    yield LOG, promised.log, present.log
    yield STAMPS, promised.stamps, present.stamps


def _files_hint(where: Path) -> str:
    return f"put the run's own files into {where}, or check the bundle alone with --bundle-only"


def _compare_statement(statement: Statement) -> None:
    for contradiction in verdict.contradictions(statement.predicate, statement.subjects.submission):
        raise SchemaError(contradiction)


def _compare_log(where: Path, statement: Statement) -> None:
    """Derive the claims and their stamps again and compare; a lost run's files may be cut short."""
    predicate = statement.predicate
    if predicate.run.status is RunStatus.LOST:
        return
    points = read_run(where / LOG, where / STAMPS, predicate.claims.grammar)
    if derive.claims_of(points, predicate.claims.grammar) != predicate.claims:
        raise SchemaError(f"the claims are not those that {LOG} holds")
    if derive.host_ms_of(points) != predicate.observations.val_point_host_ms:
        raise SchemaError(f"the host's stamps of the validation points are not those that {STAMPS} holds")
    if predicate.audit.tier_rules > FIRST_RULES:
        _compare_evidence(predicate, points)
    if (where / LOG).stat().st_size != predicate.observations.output_bytes:
        raise SchemaError(f"{LOG} has not as many bytes as were counted")


def _compare_evidence(predicate: Predicate, points: tuple[Point, ...]) -> None:
    """Count the lines of both kinds again; a result of version 0.1 does not say how many there were."""
    counted = (derive.count_training_lines(points), predicate.claims.val_points_printed)
    evidence = predicate.evidence
    if (evidence.training_lines.seen, evidence.validation_lines.seen) != counted:
        raise SchemaError(
            f"{LOG} holds {counted[0]} training and {counted[1]} validation lines, not as stated"
        )

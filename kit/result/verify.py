"""
Verify a bundle in eight steps. An error message begins with the number of the failed step.

0. Size and encoding: a regular file of at most 4 MiB, JSON in canonical form (RFC 8785).
1. Format: Sigstore bundle v0.3 with one DSSE signature; strict base64; DER with low S.
2. Key: the hint names a trusted key, or at least the key in `signer.pem` next to the bundle.
3. Signature: ECDSA P-256 with SHA-256 over DSSE's pre-authentication encoding.
4. Types: payload type, Statement type and predicate type; the payload in canonical form.
5. Schema: `result.v2.schema.json` or, for a result of version 0.1, `result.v1.schema.json`.
6. Files: submission, log and stamps next to the bundle match the digests of the subjects.
7. Consistency: claims and line counts match the log; the verdict and the sums match the other fields.

The payload is not parsed before step 3 has passed. Not checked: that the run happened, that the operator's
clock is right, that image, data and record manifest are those of the benchmark, and that the files next to
the bundle do not change while they are read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core.digest import Sha256
from kit.core.errors import DigestMismatch, IntegrityError, SchemaError, SignatureError
from kit.core.schema import validate
from kit.core.text import counted, in_shell, one_line
from kit.result import derive, dsse, folder, intoto, signed
from kit.result.appraisal import verdict
from kit.result.appraisal.trust import FIRST_RULES
from kit.result.keys import Trusted
from kit.result.predicate import InputFile, Predicate
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

MAX_NAMED = 5
"""Files that an error names."""

STEPS = (
    "size and encoding",
    "format",
    "key",
    "signature",
    "types",
    "schema",
    "files next to the bundle",
    "consistency",
)
"""Name of each step, by its number."""


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """A bundle with a valid signature."""

    path: Path
    statement: Statement
    document: Mapping[str, Any]
    """The statement as signed; `statement` has the current form, also for version 0.1."""
    key_id: Sha256
    trusted: bool
    """False if the key was revoked, or is known only from `signer.pem` next to the bundle."""
    unchecked: tuple[int, ...]
    """Steps that were skipped on request."""
    revoked: Revocation | None = None
    """The revocation of the key, if there is one."""

    @property
    def predicate(self) -> Predicate:
        """Return the signed predicate."""
        return self.statement.predicate


def open_bundle(path: Path, trusted: Trusted, bundle_only: bool = False) -> VerifiedBundle:
    """
    Verify a bundle, given by its path or its directory, and return its content.

    `bundle_only` skips step 6 and the part of step 7 that needs the files next to the bundle. Raises
    `SignatureError`, `SchemaError` or `DigestMismatch` whose message begins with `step N:`,
    `PrerequisiteError` if there is no bundle.
    """
    bundle = folder.locate(path)
    with _step(0, "pass the result.json of a run; if this is one, copy it again from its source"):
        document = dsse.parse_canonical(dsse.read_file(bundle), bundle.name)
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
            _compare_files(bundle, statement)
    with _step(7):
        _compare_statement(statement)
        if not bundle_only:
            _compare_log(bundle.parent, statement)
    unchecked = (6,) if bundle_only else ()
    revoked = trusted.revocation(key.key_id)
    return VerifiedBundle(bundle, statement, claimed, key.key_id, known, unchecked, revoked)


def _require_one_form(envelope: dsse.Envelope, predicate_type: str) -> None:
    """Require the envelope of version 0.1 for its predicate, and the later envelope for later ones."""
    if envelope.with_keyid is (predicate_type == PREDICATE_TYPE_V1):
        raise SignatureError(f"predicate type {predicate_type} is not allowed in this envelope format")


@contextlib.contextmanager
def _step(number: int, hint: str = "") -> Iterator[None]:
    """Prefix the message of an error with the step number; keep its type, and its hint if it has one."""
    try:
        yield
    except (SignatureError, SchemaError, DigestMismatch) as e:
        raise type(e)(f"step {number}: {e.message}", e.hint or hint) from e
    except IntegrityError as e:
        raise DigestMismatch(f"step {number}: {e.message}", e.hint or hint) from e


def _compare_files(bundle: Path, statement: Statement) -> None:
    where = bundle.parent
    if folder.is_alone(bundle):
        raise DigestMismatch(
            f"{bundle.name} is without its files: {SUBMISSION}/, {LOG} and {STAMPS} are missing in {where}",
            f"get the directory of the run, or verify what the bundle alone shows (its signature, schema and"
            f" verdict, but no file): speedrun bundle verify {in_shell(bundle)} --bundle-only",
        )
    try:
        files, present = folder.submission_files(where), folder.subjects(where)
    except DigestMismatch as e:  # a file is missing or of the wrong kind
        raise DigestMismatch(e.message, e.hint or _files_hint(where)) from e
    if differing := _differing(statement.predicate.inputs.submission, files):
        raise DigestMismatch(
            f"the files in {where / SUBMISSION} differ from the submission that ran: {differing}",
            _files_hint(where),
        )
    for name, promised, actual in _pairs(statement.subjects, present):
        if promised != actual:
            raise DigestMismatch(
                f"checksum mismatch: {where / name} has sha256 {actual}, expected {promised}",
                _files_hint(where),
            )


def _differing(promised: Iterable[InputFile], present: Iterable[InputFile]) -> str:
    """Return which files differ, and how; an empty text if none does."""
    ran, here = ({file.name: file for file in files} for files in (promised, present))
    names = sorted(name for name in ran | here if ran.get(name) != here.get(name))
    shown = []
    for name in names[:MAX_NAMED]:
        how = "was added" if name not in ran else "was changed" if name in here else "is missing"
        shown.append(f"{one_line(name)} {how}")
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {counted(more, 'more file')}" if more else "")


def _pairs(promised: Subjects, present: Subjects) -> Iterator[tuple[str, Sha256, Sha256]]:
    yield SUBMISSION, promised.submission, present.submission
    yield LOG, promised.log, present.log
    yield STAMPS, promised.stamps, present.stamps


def _files_hint(where: Path) -> str:
    return f"restore the run's files in {where}, or pass --bundle-only to check the bundle alone"


def _compare_statement(statement: Statement) -> None:
    for contradiction in verdict.contradictions(statement.predicate, statement.subjects.submission):
        raise SchemaError(contradiction)


def _compare_log(where: Path, statement: Statement) -> None:
    """Derive the claims and stamps again and compare them; skip lost runs, whose files may be incomplete."""
    predicate = statement.predicate
    if predicate.run.status is RunStatus.LOST:
        return
    points = read_run(where / LOG, where / STAMPS, predicate.claims.grammar)
    if derive.claims_of(points, predicate.claims.grammar) != predicate.claims:
        raise SchemaError(f"the claims do not match {LOG}")
    if derive.host_ms_of(points) != predicate.observations.val_point_host_ms:
        raise SchemaError(f"the host stamps of the validation points do not match {STAMPS}")
    if predicate.audit.tier_rules > FIRST_RULES:
        _compare_evidence(predicate, points)
    if (where / LOG).stat().st_size != predicate.observations.output_bytes:
        raise SchemaError(f"the size of {LOG} differs from observations.output_bytes")


def _compare_evidence(predicate: Predicate, points: tuple[Point, ...]) -> None:
    """Count training and validation lines again and compare the numbers."""
    counted = (derive.count_training_lines(points), predicate.claims.val_points_printed)
    evidence = predicate.evidence
    if (evidence.training_lines.seen, evidence.validation_lines.seen) != counted:
        raise SchemaError(
            f"{LOG} has {counted[0]} training and {counted[1]} validation lines; the result states "
            f"{evidence.training_lines.seen} and {evidence.validation_lines.seen}"
        )

"""
The signed reservation of a run or series: its plan and the process that owns it.

The user's key signs it before the run starts. Whoever closes an interrupted run signs only the content of
their own reservation and what they derive from the files of the run. A reservation never leaves the machine,
and the directory of a finished run has none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from kit.core.codec import OPTIONAL, decode, encode
from kit.core.digest import Sha256, canonical_json, sha256_bytes
from kit.core.errors import SchemaError, SignatureError
from kit.core.lease import Lease
from kit.core.schema import parse_json, validate
from kit.core.text import named_once
from kit.result import dsse
from kit.result.intoto import parse_typed, wrap
from kit.result.keys import PublicKey, Signer, seal
from kit.result.predicate import Predicate
from kit.result.statement import PREDICATE_TYPE_V1, SUBMISSION, Subjects, statement
from kit.values.run_result import RunStatus

PREDICATE_TYPE = "urn:speedrun-kit:reservation:v1"
SCHEMA = "reservation.v1"
PLAN = "plan.json"
"""Name of the subject of a series' reservation."""
EMPTY = sha256_bytes(b"")
WHAT = "reservation"


@dataclass(frozen=True, slots=True)
class ReservationBody:
    """The predicate of a reservation."""

    id: str
    """Id of the run or series; also the name of its directory."""
    lease: Lease
    planned: Annotated[Predicate | None, OPTIONAL] = None
    """For a run: its result if it is lost, with the status `lost`."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation with a verified signature."""

    body: ReservationBody
    subject: Sha256
    """Tree digest of a run's submission, or sha256 of a series' signed plan."""

    @property
    def planned(self) -> Predicate:
        """Return the planned result of a run. Raises `SchemaError` for the reservation of a series."""
        if self.body.planned is None:
            raise SchemaError("the reservation belongs to a series, not to a run")
        return self.body.planned


def reserve_run(planned: Predicate, submission: Sha256, lease: Lease, signer: Signer) -> bytes:
    """Return the signed reservation of a run. Raises `SchemaError` if the planned result is invalid."""
    _require_lost(planned, submission)
    return _sealed(ReservationBody(planned.run.id, lease, planned), SUBMISSION, submission, signer)


def reserve_series(series_id: str, plan: bytes, lease: Lease, signer: Signer) -> bytes:
    """Return the signed reservation of a series, whose signed plan is `plan`."""
    return _sealed(ReservationBody(series_id, lease), PLAN, sha256_bytes(plan), signer)


def read_reservation(path: Path, own: PublicKey) -> Reservation:
    """
    Verify a reservation with the reader's own key; other trusted keys are not accepted.

    The lease is not compared with the directory here. Raises `PrerequisiteError` if the file cannot be read,
    `SignatureError` for a missing or foreign signature, `SchemaError`; the message begins with the path.
    """
    with _named(path):
        return _verified(dsse.parse_canonical(dsse.read_file(path), WHAT), own)


def is_unsigned_v1(path: Path) -> bool:
    """
    Return whether a file is a reservation of version 0.1: an unsigned statement of its type.

    Raises `PrerequisiteError` if it cannot be read, `SchemaError` if it is not JSON; both name the path.
    """
    with _named(path):
        document = parse_json(dsse.read_file(path), WHAT)
    return isinstance(document, dict) and document.get("predicateType") == PREDICATE_TYPE_V1


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (SignatureError, SchemaError) as e:
        raise type(e)(named_once(path, e.message), e.hint) from e


def _verified(document: Any, own: PublicKey) -> Reservation:
    if isinstance(document, dict) and "predicateType" in document:
        raise SignatureError("the reservation is not signed")
    envelope = dsse.envelope_of(document)
    if envelope.hint != own.key_id:
        raise SignatureError(
            f"the reservation is signed by key {envelope.hint[:12]!a}, not by your key {own.key_id[:12]}"
        )
    own.verify(envelope.signature, dsse.pae(envelope.payload_type, envelope.payload))
    claimed = parse_typed(envelope, PREDICATE_TYPE)
    validate(SCHEMA, claimed, WHAT)
    body: ReservationBody = decode(ReservationBody, claimed["predicate"], "$.predicate")
    (subject,) = claimed["subject"]
    found = Reservation(body, Sha256(subject["digest"]["sha256"]))
    if subject["name"] != (PLAN if body.planned is None else SUBMISSION):
        raise SchemaError(f"unexpected subject {subject['name']}")
    if body.planned is not None:
        _require_lost(body.planned, found.subject)
        if body.planned.run.id != body.id:
            raise SchemaError(
                f"the planned run id {body.planned.run.id} differs from the reservation's id {body.id}"
            )
    return found


def _sealed(reserved: ReservationBody, name: str, subject: Sha256, signer: Signer) -> bytes:
    document = wrap(PREDICATE_TYPE, [(name, subject)], encode(ReservationBody, reserved))
    validate(SCHEMA, document, WHAT)
    return seal(canonical_json(document), signer)


def _require_lost(planned: Predicate, submission: Sha256) -> None:
    """Check that the planned result is valid and has the status `lost`."""
    if planned.run.status is not RunStatus.LOST:
        raise SchemaError(f"a reservation must state the status lost, not {planned.run.status}")
    statement(planned, Subjects(submission, EMPTY, EMPTY))

"""
The signed reservation: what a run or series will be, and the process that it belongs to. Ends nothing.

It is signed before anything starts, with the key of the user who makes the run. Whoever closes an interrupted
run signs nothing but what he finds in his own reservation, and what he derives from the files that are there.
It never leaves the machine: the folder of a finished run has none.
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
from kit.core.locks import Lease
from kit.core.schema import parse_json, validate
from kit.result import dsse
from kit.result.intoto import parse_typed, wrap
from kit.result.keys import PublicKey, Signer, seal
from kit.result.predicate import Predicate
from kit.result.signed import read_file
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
    """Of the run or series, which is the folder's name."""
    lease: Lease
    planned: Annotated[Predicate | None, OPTIONAL] = None
    """Of a run: the result if nothing more becomes known, with the status `lost`."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation whose signature was verified."""

    body: ReservationBody
    subject: Sha256
    """Tree digest of a run's submission, or sha256 of a series' signed plan."""

    @property
    def planned(self) -> Predicate:
        """The planned result of a run. Raises `SchemaError` for the reservation of a series."""
        if self.body.planned is None:
            raise SchemaError("it is the reservation of a series, not of a run")
        return self.body.planned


def reserve_run(planned: Predicate, submission: Sha256, lease: Lease, signer: Signer) -> bytes:
    """Return the signed reservation of a run. Raises `SchemaError` if its record could not be written."""
    _require_lost(planned, submission)
    return _sealed(ReservationBody(planned.run.id, lease, planned), SUBMISSION, submission, signer)


def reserve_series(series_id: str, plan: bytes, lease: Lease, signer: Signer) -> bytes:
    """Return the signed reservation of a series, whose signed plan is `plan`."""
    return _sealed(ReservationBody(series_id, lease), PLAN, sha256_bytes(plan), signer)


def read_reservation(path: Path, own: PublicKey) -> Reservation:
    """
    Verify a reservation with the reader's own key; a key that he merely trusts is not enough.

    Whether its lease fits the folder is not checked here. Raises `PrerequisiteError` if it cannot be read,
    `SignatureError` if another key signed it or none, `SchemaError`; the message begins with the path.
    """
    with _named(path):
        return _verified(dsse.parse_canonical(read_file(path), WHAT), own)


def is_unsigned_v1(path: Path) -> bool:
    """
    Tell whether a file is of the form that version 0.1 wrote: an unsigned statement of its type.

    Raises `PrerequisiteError` if it cannot be read, `SchemaError` if it is not JSON, naming the path.
    """
    with _named(path):
        document = parse_json(read_file(path), WHAT)
    return isinstance(document, dict) and document.get("predicateType") == PREDICATE_TYPE_V1


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (SignatureError, SchemaError) as e:
        raise type(e)(f"{path}: {e.message}", e.hint) from e


def _verified(document: Any, own: PublicKey) -> Reservation:
    if isinstance(document, dict) and "predicateType" in document:
        raise SignatureError("it is not signed")
    envelope = dsse.envelope_of(document)
    if envelope.hint != own.key_id:
        raise SignatureError(f"it is signed by key {envelope.hint[:16]!a}, not by yours ({own.key_id[:16]})")
    own.verify(envelope.signature, dsse.pae(envelope.payload_type, envelope.payload))
    claimed = parse_typed(envelope, PREDICATE_TYPE)
    validate(SCHEMA, claimed, WHAT)
    body: ReservationBody = decode(ReservationBody, claimed["predicate"], "$.predicate")
    (subject,) = claimed["subject"]
    found = Reservation(body, Sha256(subject["digest"]["sha256"]))
    if subject["name"] != (PLAN if body.planned is None else SUBMISSION):
        raise SchemaError(f"its subject is {subject['name']}")
    if body.planned is not None:
        _require_lost(body.planned, found.subject)
        if body.planned.run.id != body.id:
            raise SchemaError(f"it plans run {body.planned.run.id} as {body.id}")
    return found


def _sealed(reserved: ReservationBody, name: str, subject: Sha256, signer: Signer) -> bytes:
    document = wrap(PREDICATE_TYPE, [(name, subject)], encode(ReservationBody, reserved))
    validate(SCHEMA, document, WHAT)
    return seal(canonical_json(document), signer)


def _require_lost(planned: Predicate, submission: Sha256) -> None:
    """See that the planned result is a valid one, and says nothing but that the run was lost."""
    if planned.run.status is not RunStatus.LOST:
        raise SchemaError(f"a reservation plans a lost run, not one that was {planned.run.status}")
    statement(planned, Subjects(submission, EMPTY, EMPTY))

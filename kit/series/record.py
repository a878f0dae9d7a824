"""
Write and read the two signed documents of a series, in a directory beside its runs.

    <out>/<series_id>/plan.json         signed before the first run: every run's id, nonce and arm; the rule
                      series.json       signed at the end: each run's bundle digest, or that it never started
                      signer.pem        the public key of both
                      reservation.json  signed: the process and the directory that the plan belongs to
                      .alive            locked while the series is in progress; see `kit.core.locks`
"""

from __future__ import annotations

import contextlib
import datetime
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from kit.core import locks
from kit.core.codec import OPTIONAL, Prose, decode, encode
from kit.core.digest import Sha256, canonical_json, sha256_bytes, sha256_file
from kit.core.errors import DigestMismatch, IntegrityError, PrerequisiteError
from kit.core.files import disk_errors, make_folder, write_atomic
from kit.core.lease import lease_of
from kit.core.schema import validate
from kit.core.text import in_shell, named_once
from kit.result import dsse, folder
from kit.result.intoto import parse_typed, wrap
from kit.result.keys import Signer, Trusted, seal
from kit.result.reservation import reserve_series
from kit.result.signed import find_key
from kit.result.verify import open_bundle
from kit.sandbox.folder import RunFolder, is_open
from kit.values.profile import Profile

PREDICATE_TYPE = "urn:speedrun-kit:series:v1"
SCHEMA = "series.v1"
PLAN = folder.SERIES
RECORD = "series.json"
RESERVATION = "reservation.json"
ALIVE = ".alive"
SERIES_ID = re.compile(r"s[0-9]{2}-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


class Arm(StrEnum):
    """Which script a run of a series runs."""

    CANDIDATE = "candidate"
    START = "start"
    """The start record's original script."""
    TARGET = "target"
    """The next record's original script."""


class StopRule(StrEnum):
    """When a series stops; fixed before it starts."""

    ALL_RUNS = "all runs"
    FIRST_FAILURE = "first failure"
    """Stop after the first run that does not complete. It shortens a series but never improves its result."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One reserved run."""

    run_id: str
    nonce: str
    arm: Arm
    submission_sha256: Sha256


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """The runs to make, in this order."""

    id: str
    created_at: str
    record: int
    """Number of the start record; 0 for a smoke task."""
    profile: Profile
    rule: StopRule
    slots: tuple[Slot, ...]
    task: Annotated[str | None, OPTIONAL] = None
    """Name of a task that is more than a number: `smoke-1`, `21c`; None for others."""
    horizon: Annotated[str | None, OPTIONAL] = None
    """Name of the record that the target arm runs; None for the next record."""

    @property
    def name(self) -> str:
        """Return the start record's name."""
        return self.task or str(self.record)


@dataclass(frozen=True, slots=True)
class SeriesEnd:
    """How the series ended."""

    plan_sha256: Sha256
    """Digest of the signed plan.json."""
    at: str
    reason: Prose
    not_started: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeriesBody:
    """The predicate of both documents."""

    plan: SeriesPlan
    ended: Annotated[SeriesEnd | None, OPTIONAL] = None


def new_series_id(record: int) -> str:
    """Return a fresh id, for example `s03-20261123T170000Z-1a2b3c4d`."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"s{record:02d}-{now}-{secrets.token_hex(4)}"


def now() -> str:
    """Return the operator's wall clock, UTC, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


@contextlib.contextmanager
def reserved_series(out: Path, plan: SeriesPlan, signer: Signer) -> Iterator[tuple[Path, Sha256]]:
    """Sign the plan and hold the series' lock; yield its directory and the digest of plan.json."""
    where = out / plan.id
    make_folder(out)
    with disk_errors(where):
        where.mkdir()
    lock = locks.acquire(where / ALIVE)
    assert lock  # noqa: S101 - the directory is new
    try:
        lock.note()
        folder.leave_key(where, signer)
        sealed = seal(_statement(SeriesBody(plan), [(plan.id, _digest(plan))]), signer)
        lease = lease_of(where, lock)
        write_atomic(where / RESERVATION, reserve_series(plan.id, sealed, lease, signer))
        write_atomic(where / PLAN, sealed)
        yield where, sha256_bytes(sealed)
    finally:
        lock.release()


def close(where: Path, plan: SeriesPlan, signer: Signer, reason: str) -> Path:
    """
    Sign the record: the digest of each run's bundle, and the runs that never started.

    Raises `IntegrityError` for a bundle of another signer or another run, `PrerequisiteError` if a run has
    started and has no bundle yet.
    """
    plan_sha256 = sha256_file(where / PLAN)
    ended, absent = [], []
    for slot in plan.slots:
        run = RunFolder(where.parent / slot.run_id)
        if run.result.is_file():
            _require_own(run, slot, plan_sha256, signer)
            ended.append((slot.run_id, sha256_file(run.result)))
        elif is_open(run):
            raise PrerequisiteError(
                f"cannot close series {plan.id}: run {slot.run_id} has no result yet",
                f"run: speedrun doctor --fix --out {in_shell(where.parent)}",
            )
        else:
            absent.append(slot.run_id)
    body = SeriesBody(plan, SeriesEnd(plan_sha256, now(), reason, tuple(absent)))
    payload = _statement(body, [(plan.id, _digest(plan)), *ended])
    folder.leave_key(where, signer)
    write_atomic(where / RECORD, seal(payload, signer))
    for name in (ALIVE, RESERVATION):
        (where / name).unlink(missing_ok=True)
    return where / RECORD


def _require_own(run: RunFolder, slot: Slot, plan_sha256: Sha256, signer: Signer) -> None:
    """Check that this signer signed the bundle and that it names the reserved run; read no other file."""
    try:
        bundle = open_bundle(run.result, Trusted((signer.public,)), bundle_only=True)
    except IntegrityError as e:
        raise type(e)(named_once(run.result, e.message), e.hint) from e
    p = bundle.predicate
    named = p.series.plan_sha256 if p.series else None
    if not bundle.trusted or (p.run.id, p.run.nonce, named) != (slot.run_id, slot.nonce, plan_sha256):
        raise DigestMismatch(f"{run.result} does not match the run reserved as {slot.run_id}")


def _digest(plan: SeriesPlan) -> Sha256:
    return sha256_bytes(canonical_json(encode(SeriesPlan, plan)))


def _statement(body: SeriesBody, subjects: list[tuple[str, Sha256]]) -> bytes:
    document = wrap(PREDICATE_TYPE, subjects, encode(SeriesBody, body))
    validate(SCHEMA, document, "series")
    return canonical_json(document)


@dataclass(frozen=True, slots=True)
class SignedBody:
    """What a plan or a record says, under a signature that was verified."""

    body: SeriesBody
    bundles: dict[str, Sha256]
    """Run id -> sha256 of its bundle; of a plan none."""
    key_id: Sha256
    trusted: bool
    """The reader chose the key."""


def read(path: Path, trusted: Trusted) -> SignedBody:
    """
    Verify a plan or a record.

    The bundles themselves are not checked. Raises `PrerequisiteError`, `SignatureError`, `SchemaError`.
    """
    envelope = dsse.envelope_of(dsse.parse_canonical(dsse.read_file(path), path.name))
    key, known = find_key(path, envelope.hint, trusted)
    key.verify(envelope.signature, dsse.pae(envelope.payload_type, envelope.payload))
    document = parse_typed(envelope, PREDICATE_TYPE)
    validate(SCHEMA, document, path.name)
    body: SeriesBody = decode(SeriesBody, document["predicate"], "$.predicate")
    subjects = {s["name"]: Sha256(s["digest"]["sha256"]) for s in document["subject"]}
    if subjects.pop(body.plan.id, None) != _digest(body.plan) or len(subjects) + 1 != len(
        document["subject"]
    ):
        raise DigestMismatch(f"{path.name}: the subjects are not those of the plan")
    return SignedBody(body, subjects, key.key_id, known)

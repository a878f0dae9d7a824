"""Verify a series' two signed documents, and compare its runs with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.benchmark.records import load, own_digest
from kit.core.digest import Sha256, sha256_file
from kit.core.errors import DigestMismatch, PrerequisiteError
from kit.core.text import in_shell
from kit.result.keys import Trusted
from kit.result.predicate import CompileCache
from kit.result.verify import VerifiedBundle
from kit.series.record import PLAN, RECORD, Arm, SeriesEnd, SeriesPlan, Slot, read
from kit.values.profile import Profile
from kit.values.task_id import is_smoke


@dataclass(frozen=True, slots=True)
class SignedDocuments:
    """A verified plan and, after the series has ended, its record."""

    plan: SeriesPlan
    plan_sha256: Sha256
    """Digest of plan.json, which the runs name."""
    ended: SeriesEnd | None
    """None while the series is in progress."""
    bundles: dict[str, Sha256]
    """Run id -> sha256 of its bundle, of each run that ended; empty while the series goes on."""
    key_id: Sha256
    """Of the key that signed both, and that must have signed every run."""
    trusted: bool
    """The reader chose that key."""

    @property
    def slots(self) -> dict[str, Slot]:
        """Return the reserved runs by run id."""
        return {slot.run_id: slot for slot in self.plan.slots}


def read_documents(where: Path, trusted: Trusted, unfinished: bool = False) -> SignedDocuments:
    """
    Verify the documents in a series' directory; the runs are not checked.

    Without `unfinished` the record must be there. Raises as `read`, and `DigestMismatch` if the record is not
    the plan's, is another key's or does not account for every reserved run.
    """
    planned = read(where / PLAN, trusted)
    if planned.body.ended is not None:
        raise DigestMismatch(f"{where / PLAN} is a record, and not a plan")
    plan_sha256 = sha256_file(where / PLAN)
    if unfinished and not (where / RECORD).exists():
        return SignedDocuments(planned.body.plan, plan_sha256, None, {}, planned.key_id, planned.trusted)
    if not (where / RECORD).exists():
        raise PrerequisiteError(
            f"series {where.name} has not ended",
            f"if it was interrupted: speedrun doctor --fix --out {in_shell(where.parent)}",
        )
    record = read(where / RECORD, trusted)
    plan, ended = record.body.plan, record.body.ended
    if ended is None or ended.plan_sha256 != plan_sha256 or planned.body.plan != plan:
        raise DigestMismatch(f"{where / RECORD} does not match {PLAN}")
    if record.key_id != planned.key_id:
        raise DigestMismatch(f"{where / RECORD} is signed by {record.key_id}, {PLAN} by {planned.key_id}")
    reserved = sorted(slot.run_id for slot in plan.slots)
    if sorted([*record.bundles, *ended.not_started]) != reserved or len(set(reserved)) != len(reserved):
        raise DigestMismatch(f"{where / RECORD} does not account for every reserved run")
    return SignedDocuments(plan, plan_sha256, ended, record.bundles, record.key_id, record.trusted)


def mismatched_scripts(plan: SeriesPlan, records: Path) -> Iterator[str]:
    """
    Yield each run that is reserved as a record's original script but runs another one.

    `records` is the directory of record files. Smoke series of upstream's records are not checked: both arms
    run the reference trainer.
    """
    reference = plan.profile is Profile.SMOKE and not is_smoke(plan.name)
    if reference or all(slot.arm is Arm.CANDIDATE for slot in plan.slots):
        return
    start = load(records, plan.name)
    own = {Arm.START: own_digest(start)}
    target = plan.horizon or start.target
    if target is not None:
        own[Arm.TARGET] = own_digest(load(records, target))
    for slot in plan.slots:
        if slot.arm is not Arm.CANDIDATE and slot.submission_sha256 != own.get(slot.arm):
            yield f"{slot.run_id} does not run the {slot.arm} record's original script as this version has it"


def run_mismatches(
    documents: SignedDocuments, bundle: VerifiedBundle, bundle_sha256: Sha256
) -> Iterator[str]:
    """Yield how a verified run differs from the run that the series reserved under its id."""
    p = bundle.predicate
    slot = documents.slots.get(p.run.id)
    named = p.series.plan_sha256 if p.series else None
    if slot is None or (p.run.nonce, named) != (slot.nonce, documents.plan_sha256):
        yield f"does not match the run reserved as {p.run.id}"
    elif bundle.key_id != documents.key_id:
        yield f"is signed by {bundle.key_id}, and its series by {documents.key_id}"
    elif bundle.statement.subjects.submission != slot.submission_sha256:
        yield "has a different submission than was reserved"
    elif p.run.compile_cache is CompileCache.WARM:
        yield "started with a warm compile cache; the runs of a series start cold"
    elif documents.ended and documents.bundles.get(p.run.id) != bundle_sha256:
        yield f"does not match its digest in {RECORD}"

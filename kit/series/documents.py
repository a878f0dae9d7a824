"""A series' two signed documents together, and whether verified runs are those they reserved. Runs none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.benchmark.records import load, own_digest
from kit.core.digest import Sha256, sha256_file
from kit.core.errors import DigestMismatch, PrerequisiteError
from kit.result.keys import Trusted
from kit.result.verify import VerifiedBundle
from kit.series.record import PLAN, RECORD, Arm, SeriesEnd, SeriesPlan, Slot, read
from kit.values.profile import Profile


@dataclass(frozen=True, slots=True)
class SignedDocuments:
    """A verified plan and, once the series has ended, the record that belongs to it."""

    plan: SeriesPlan
    plan_sha256: Sha256
    """Of plan.json: what the runs name."""
    ended: SeriesEnd | None
    """None while it goes on."""
    bundles: dict[str, Sha256]
    """Run id -> sha256 of its bundle, of each run that ended; empty while the series goes on."""
    key_id: Sha256
    """Of the key that signed both, and that must have signed every run."""
    trusted: bool
    """The reader chose that key."""

    @property
    def slots(self) -> dict[str, Slot]:
        """Run id -> what was reserved."""
        return {slot.run_id: slot for slot in self.plan.slots}


def read_documents(where: Path, trusted: Trusted, unfinished: bool = False) -> SignedDocuments:
    """
    Verify the documents in a series' folder; the runs are not looked at.

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
            f"{where.name} has not ended", f"if its kit died: speedrun doctor --fix --out {where.parent}"
        )
    record = read(where / RECORD, trusted)
    plan, ended = record.body.plan, record.body.ended
    if ended is None or ended.plan_sha256 != plan_sha256 or planned.body.plan != plan:
        raise DigestMismatch(f"{where / RECORD} is not the record of {PLAN}")
    if record.key_id != planned.key_id:
        raise DigestMismatch(f"{where / RECORD} is signed by {record.key_id}, {PLAN} by {planned.key_id}")
    reserved = sorted(slot.run_id for slot in plan.slots)
    if sorted([*record.bundles, *ended.not_started]) != reserved or len(set(reserved)) != len(reserved):
        raise DigestMismatch(f"{where / RECORD} does not account for every reserved run")
    return SignedDocuments(plan, plan_sha256, ended, record.bundles, record.key_id, record.trusted)


def other_scripts(plan: SeriesPlan, records: Path) -> Iterator[str]:
    """
    Yield what is reserved as a record's own script and is another; `records` has this kit's facts about them.

    Of the smoke profile nothing: both of its records are the reference trainer.
    """
    if plan.profile is Profile.SMOKE or all(slot.arm is Arm.CANDIDATE for slot in plan.slots):
        return
    start = load(records, plan.record)
    own = {Arm.START: own_digest(start)}
    if start.target is not None:
        own[Arm.TARGET] = own_digest(load(records, start.target))
    for slot in plan.slots:
        if slot.arm is not Arm.CANDIDATE and slot.submission_sha256 != own.get(slot.arm):
            yield f"{slot.run_id} is not the {slot.arm} record's own script, or that of another kit's version"


def differences(documents: SignedDocuments, bundle: VerifiedBundle, bundle_sha256: Sha256) -> Iterator[str]:
    """Yield why a verified run is not the one of its id that the series reserved and bound."""
    p = bundle.predicate
    slot = documents.slots.get(p.run.id)
    named = p.series.plan_sha256 if p.series else None
    if slot is None or (p.run.nonce, named) != (slot.nonce, documents.plan_sha256):
        yield f"is not the run that was reserved as {p.run.id}"
    elif bundle.key_id != documents.key_id:
        yield f"is signed by {bundle.key_id}, and its series by {documents.key_id}"
    elif bundle.statement.subjects.submission != slot.submission_sha256:
        yield "ran another submission than was reserved"
    elif documents.ended and documents.bundles.get(p.run.id) != bundle_sha256:
        yield "is not the bundle that the series' record binds"

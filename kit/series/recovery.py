"""
Sign the records of interrupted series; `kit.evaluate.recovery` closes their runs first.

This user must have signed the plan and the reservation, which binds the plan to one directory and one
process. A series that is in progress or belongs to another machine is skipped; a copy is refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kit.core import locks
from kit.core.digest import sha256_file
from kit.core.errors import DigestMismatch, IntegrityError, KitError, PrerequisiteError, SignatureError
from kit.core.lease import Lease, Takeover, claimed
from kit.core.process import OwnerState
from kit.core.text import in_shell
from kit.result.keys import Signer, Trusted, load_or_create
from kit.result.reservation import read_reservation
from kit.series.record import ALIVE, PLAN, RECORD, RESERVATION, SERIES_ID, SeriesPlan, close, read

INTERRUPTED = "speedrun exited before the series finished"
REFUSALS = {
    Takeover.COPY: "this folder is a copy of the one that the series was reserved in",
    Takeover.REPLACED: f"{ALIVE} is missing or was replaced since the series was reserved",
}


@dataclass(frozen=True, slots=True)
class ClosedSeries:
    """An abandoned series that was closed just now by signing its record."""

    id: str
    record: Path


def close_lost_series(out: Path, keys: Path) -> tuple[ClosedSeries, ...]:
    """
    Sign the records of abandoned series below `out`; create a key only if there is such a series.

    Raises as `close_abandoned`.
    """
    return close_abandoned(out, load_or_create(keys)) if abandoned(out) else ()


def abandoned(out: Path) -> list[Path]:
    """Return the sorted directories of series below `out` whose process exited without signing a record."""
    if not out.is_dir():
        return []
    folders = [out / entry.name for entry in os.scandir(out) if SERIES_ID.fullmatch(entry.name)]
    return sorted(w for w in folders if _is_open(w) and locks.standing_of(w / ALIVE) is OwnerState.ENDED)


def _is_open(where: Path) -> bool:
    return not (where / RECORD).exists() and (where / PLAN).exists()


def close_abandoned(out: Path, signer: Signer) -> tuple[ClosedSeries, ...]:
    """
    Sign the records of abandoned series below `out`; their runs must already be closed.

    A series of another key or another machine is skipped. Raises `IntegrityError` for a plan, reservation or
    bundle that is unreadable, copied or signed by another key, `PrerequisiteError` if a run has no result
    yet. All other series are closed before it raises.
    """
    closed: list[ClosedSeries] = []
    broken: KitError | None = None
    for where in abandoned(out):
        try:
            record = _close(where, signer)
        except (
            IntegrityError,
            PrerequisiteError,
        ) as e:  # close the other series before raising
            aside = f"if this series should not be there, move it: mv {in_shell(where, where.parent.parent)}"
            named = type(e)(f"cannot close series {where.name}: {e.message}", aside)
            if _is_open(where):  # otherwise another process has closed it
                broken = broken or (named if isinstance(e, IntegrityError) else e)
            continue
        if record is not None:
            closed.append(ClosedSeries(where.name, record))
    if broken is not None:
        raise broken
    return tuple(closed)


def _close(where: Path, signer: Signer) -> Path | None:
    """Close one series; return None if that is another's to do."""
    planned = read(where / PLAN, Trusted((signer.public,)))
    if not planned.trusted:
        return None
    plan = planned.body.plan
    with claimed(where, ALIVE, _lease(where, plan, signer)) as claim:
        if claim in REFUSALS:
            raise SignatureError(f"{where}: {REFUSALS[claim]}")
        if claim is not Takeover.MINE or not _is_open(where):
            return None
        return close(where, plan, signer, INTERRUPTED)


def _lease(where: Path, plan: SeriesPlan, signer: Signer) -> Lease:
    """Return the signed lease of a series that this signer planned."""
    if not (where / RESERVATION).exists():
        raise SignatureError(
            f"{RESERVATION} is missing; version 0.1 did not write it: close the series with that version"
        )
    reservation = read_reservation(where / RESERVATION, signer.public)
    if plan.id != where.name or reservation.body.id != where.name:
        raise DigestMismatch(f"{PLAN} and {RESERVATION} do not belong to {where.name}")
    if reservation.subject != sha256_file(where / PLAN):
        raise DigestMismatch(f"{RESERVATION} does not match {PLAN}")
    return reservation.body.lease

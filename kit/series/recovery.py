"""
Sign the records of series that were interrupted; their runs are closed by `kit.evaluate.recovery` before.

The plan must be signed by this user, and so must the reservation, which binds the plan to one folder and one
process: a series that goes on is left alone, one of another machine, too, and a copy is refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kit.core import locks
from kit.core.digest import sha256_file
from kit.core.errors import DigestMismatch, IntegrityError, KitError, PrerequisiteError, SignatureError
from kit.core.locks import Claim, Standing, claimed
from kit.result.keys import Signer, Trusted, load_or_create
from kit.result.reservation import read_reservation
from kit.series.record import ALIVE, PLAN, RECORD, RESERVATION, SERIES_ID, SeriesPlan, close, read

INTERRUPTED = "speedrun exited before the series finished"
REFUSALS = {
    Claim.COPY: "this folder is a copy of the one that the series was reserved in",
    Claim.REPLACED: f"{ALIVE} is missing or was replaced since the series was reserved",
}


@dataclass(frozen=True, slots=True)
class ClosedSeries:
    """A series that was abandoned and has a signed record now."""

    id: str
    record: Path


def close_lost_series(out: Path, keys: Path) -> tuple[ClosedSeries, ...]:
    """
    Sign the records of abandoned series below `out`; a key is made only if there is one.

    Raises as `close_abandoned`.
    """
    return close_abandoned(out, load_or_create(keys)) if abandoned(out) else ()


def abandoned(out: Path) -> list[Path]:
    """Return the folders of series below `out` whose process ended before it signed their record, sorted."""
    if not out.is_dir():
        return []
    folders = [out / entry.name for entry in os.scandir(out) if SERIES_ID.fullmatch(entry.name)]
    return sorted(w for w in folders if _is_open(w) and locks.standing_of(w / ALIVE) is Standing.ENDED)


def _is_open(where: Path) -> bool:
    return not (where / RECORD).exists() and (where / PLAN).exists()


def close_abandoned(out: Path, signer: Signer) -> tuple[ClosedSeries, ...]:
    """
    Sign the records of abandoned series below `out`; their runs must have been closed before.

    A series that another key planned is its owner's to close, and so is one of another machine. Raises
    `IntegrityError` for a plan, reservation or bundle that cannot be read, is copied or is not the signer's,
    `PrerequisiteError` if a run has no result yet; the other series have been closed by then.
    """
    closed: list[ClosedSeries] = []
    broken: KitError | None = None
    for where in abandoned(out):
        try:
            record = _close(where, signer)
        except (
            IntegrityError,
            PrerequisiteError,
        ) as e:  # one that cannot be closed must not keep the others open
            aside = f"if you do not expect it there, move it away: mv {where} {where.parent.parent}"
            named = type(e)(f"cannot close series {where.name}: {e.message}", aside)
            if _is_open(where):  # otherwise another process has closed it meanwhile
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
        if claim is not Claim.MINE or not _is_open(where):
            return None
        return close(where, plan, signer, INTERRUPTED)


def _lease(where: Path, plan: SeriesPlan, signer: Signer) -> locks.Lease:
    """Return the signed lease of a series that this signer planned."""
    if not (where / RESERVATION).exists():
        raise SignatureError(
            f"{RESERVATION} is missing; version 0.1 wrote none: close the series with that version"
        )
    reservation = read_reservation(where / RESERVATION, signer.public)
    if plan.id != where.name or reservation.body.id != where.name:
        raise DigestMismatch(f"{PLAN} and {RESERVATION} are not those of {where.name}")
    if reservation.subject != sha256_file(where / PLAN):
        raise DigestMismatch(f"{RESERVATION} is not that of {PLAN}")
    return reservation.body.lease

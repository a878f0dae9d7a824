"""Sign the records of series whose kit died; their runs are closed by `kit.evaluate.recovery` before."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from kit.core.errors import IntegrityError
from kit.result.keys import Signer, Trusted, load_or_create
from kit.series.record import ALIVE, PLAN, RECORD, SERIES_ID, close, read


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
    """Return the folders of series below `out` whose kit died before it signed their record, sorted."""
    if not out.is_dir():
        return []
    folders = [out / entry.name for entry in os.scandir(out) if SERIES_ID.fullmatch(entry.name)]
    return sorted(w for w in folders if not (w / RECORD).exists() and (w / PLAN).exists() and _free(w))


def close_abandoned(out: Path, signer: Signer) -> tuple[ClosedSeries, ...]:
    """
    Sign the records of abandoned series below `out`; their runs must have been closed before.

    A series that another key planned is its owner's to close. Raises `IntegrityError` for a plan that cannot
    be read; the other series have been closed by then.
    """
    closed: list[ClosedSeries] = []
    broken: IntegrityError | None = None
    for where in abandoned(out):
        try:
            body, _, mine = read(where / PLAN, Trusted((signer.public,)))
        except IntegrityError as e:  # one that cannot be closed must not keep the others open
            lost = f"series {where.name} lost its kit, and its plan cannot be read: {e.message}"
            broken = broken or type(e)(lost, f"keep {where} somewhere else")
            continue
        if mine:
            record = close(where, body.plan, signer, "the kit ended before the series did")
            closed.append(ClosedSeries(where.name, record))
    if broken is not None:
        raise broken
    return tuple(closed)


def _free(where: Path) -> bool:
    try:
        lock = os.open(where / ALIVE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # another user's
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True

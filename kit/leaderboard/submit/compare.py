"""Compare verified submissions with each other, and their data with the data locks that a board accepts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from kit.core.digest import sha256_bytes
from kit.leaderboard.submit.data_locks import DataLock, lock_fault
from kit.leaderboard.submit.entry import BoardEntry, Submitted
from kit.leaderboard.submit.finding import BoardFinding, BoardRule
from kit.leaderboard.submit.names import skeletons
from kit.leaderboard.submit.precedence import BoardBase, Mark, find_copies, rank_of
from kit.leaderboard.submit.series import SubmittedSeries

EMPTY = sha256_bytes(b"")


def relative_place(root: Path, submitted: Submitted | SubmittedSeries) -> str:
    """Return the directory of a submission, relative to the repository."""
    return submitted.where.relative_to(root).as_posix()


def check_data(root: Path, runs: Sequence[Submitted], locks: Sequence[DataLock]) -> Iterator[BoardFinding]:
    """Find results whose shards are of none of the data locks; nothing without locks."""
    for submitted in runs:
        if why := lock_fault(submitted.bundle.predicate, locks):
            yield BoardFinding(relative_place(root, submitted), BoardRule.DATA, why)


def check_together(
    root: Path, opened: Sequence[Submitted], faulty: Set[str], base: BoardBase | None = None
) -> Iterator[BoardFinding]:
    """
    Find results that are in the repository twice, or that were signed twice.

    One that is `faulty` already is never the original: otherwise, whoever has no trusted key could take any
    run's place.
    """
    dated = ((relative_place(root, s), s.bundle.predicate.run.started_at, s) for s in opened)
    yield from find_copies(dated, Submitted, _marks, faulty, base)


def _marks(submitted: Submitted) -> tuple[Mark, ...]:
    """Return what no two runs have in common, the strongest first."""
    statement = submitted.bundle.statement
    run, log = statement.predicate.run, statement.subjects.log
    marks = (
        Mark(BoardRule.DUPLICATE, f"run {run.id} is also in", run.id),
        Mark(BoardRule.REPLAY, "same nonce as", run.nonce),
        Mark(BoardRule.REPLAY, "same output, byte for byte, as", log),
    )
    return marks if log != EMPTY else marks[:2]


def check_names(
    root: Path,
    runs: Sequence[Submitted],
    series: Sequence[SubmittedSeries],
    faulty: Set[str],
    base: BoardBase | None = None,
) -> Iterator[BoardFinding]:
    """Find names of agents and models that look like different names in an earlier result."""
    dated = [(s.bundle.predicate.run.started_at, relative_place(root, s), s.entry) for s in runs]
    dated += [(s.documents.plan.created_at, relative_place(root, s), s.entry) for s in series]
    ranked = [(rank_of(place, began, faulty, base), place, entry) for began, place, entry in dated]
    first: dict[tuple[int, str, str], tuple[str, BoardEntry]] = {}
    for _, place, entry in sorted(ranked, key=lambda item: item[:2]):
        if place in faulty:
            continue
        looks = zip(skeletons(entry.agent), skeletons(entry.model or ""), strict=True)
        known = [first.setdefault((way, *look), (place, entry)) for way, look in enumerate(looks)]
        for where, other in known:
            if (other.agent, other.model) != (entry.agent, entry.model):
                yield BoardFinding(
                    place,
                    BoardRule.LOOKALIKE,
                    f"agent {entry.agent}, model {entry.model!a} look like agent {other.agent}, model "
                    f"{other.model!a} in {where}: use the same names or clearly different ones",
                )
                break

"""Compare verified submissions with each other, and their data with the data locks that a board accepts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from kit.core.digest import sha256_bytes
from kit.leaderboard.submit.data_locks import DataLock, lock_fault
from kit.leaderboard.submit.entry import BoardEntry, Submitted
from kit.leaderboard.submit.finding import BoardFinding, BoardRule
from kit.leaderboard.submit.names import skeletons
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


def check_together(root: Path, opened: Sequence[Submitted], faulty: Set[str]) -> Iterator[BoardFinding]:
    """
    Compare results with each other. Of two copies, the one whose path sorts first counts as the original.

    One that is `faulty` already comes last: with it, whoever has no trusted key could take any run's place.
    """
    runs: dict[str, str] = {}
    nonces: dict[str, str] = {}
    logs: dict[str, str] = {}
    for submitted in sorted(opened, key=lambda s: (relative_place(root, s) in faulty, s.where)):
        place = relative_place(root, submitted)
        statement = submitted.bundle.statement
        run, nonce = statement.predicate.run.id, statement.predicate.run.nonce
        log = statement.subjects.log
        if run in runs:
            yield BoardFinding(place, BoardRule.DUPLICATE, f"run {run} is also in {runs[run]}")
        elif nonce in nonces:
            yield BoardFinding(place, BoardRule.REPLAY, f"same nonce as {nonces[nonce]}")
        elif log in logs and log != EMPTY:
            yield BoardFinding(place, BoardRule.REPLAY, f"same output as {logs[log]}, byte for byte")
        runs.setdefault(run, place)
        nonces.setdefault(nonce, place)
        logs.setdefault(log, place)


def check_names(
    root: Path, runs: Sequence[Submitted], series: Sequence[SubmittedSeries], faulty: Set[str]
) -> Iterator[BoardFinding]:
    """Find names of agents and models that look like different names in an earlier result."""
    began = [(s.bundle.predicate.run.started_at, relative_place(root, s), s.entry) for s in runs]
    began += [(s.documents.plan.created_at, relative_place(root, s), s.entry) for s in series]
    first: dict[tuple[int, str, str], tuple[str, BoardEntry]] = {}
    for _, place, entry in sorted(began, key=lambda item: item[:2]):
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

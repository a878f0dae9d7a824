"""
Tell an original from its copies.

A copy has the same signed bytes as its original, so they show nothing. What the copier cannot choose comes
first: whether an entry breaks another rule, such as an untrusted key, and what an earlier state of the
repository had. The date in a bundle comes last, because its signer chose it. If all are the same, each of the
entries has a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Set
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeVar

from kit.leaderboard.submit.entry import Submitted
from kit.leaderboard.submit.finding import BoardFinding, BoardRule
from kit.leaderboard.submit.series import SubmittedSeries

Opened = TypeVar("Opened", Submitted, SubmittedSeries)


@dataclass(frozen=True, slots=True)
class BoardBase:
    """An earlier state of the repository. Its entries were there first."""

    kept: Set[str]
    """Entries that are here with the same signed document: paths relative to the repository."""
    gone: tuple[tuple[str, Submitted | SubmittedSeries], ...]
    """Entries without a finding that are missing or changed here, with their paths."""
    faulty: Set[str] = frozenset()
    """As `kept`, but with a finding: they are nobody's original."""


class Arrival(IntEnum):
    """When an entry came into the repository."""

    KEPT = 0
    GONE = 1
    """It was there before, and is missing or changed now. It has no findings, but its copies have."""
    NEW = 2


class Rank(NamedTuple):
    """What decides between an entry and its copies; the lowest is the original."""

    faulty: bool
    arrival: Arrival
    began: tuple[str, str]


_GONE = Rank(False, Arrival.GONE, ("", ""))


class Mark(NamedTuple):
    """What only one entry can have."""

    rule: BoardRule
    says: str
    """Begins the message; the other entry's path follows."""
    value: Hashable


@dataclass(frozen=True, slots=True)
class Contender:
    """An entry that is compared with all others."""

    place: str
    rank: Rank
    marks: tuple[Mark, ...]
    """The first one that another entry has too is reported."""


def rank_of(place: str, began: str, faulty: Set[str], base: BoardBase | None) -> Rank:
    """Return the rank of an entry that is here."""
    arrival = Arrival.KEPT if base is not None and place in base.kept else Arrival.NEW
    return Rank(place in faulty, arrival, _moment(began))


def find_copies(
    dated: Iterable[tuple[str, str, Opened]],
    kind: type[Opened],
    marks: Callable[[Opened], tuple[Mark, ...]],
    faulty: Set[str],
    base: BoardBase | None,
) -> Iterator[BoardFinding]:
    """
    Yield a finding for each copy, and also for the original if nothing tells which one that is.

    `dated` are the entries that are here, all of one `kind`, each with its place and the time when it began;
    `marks` returns those of an entry, and `faulty` are the places that have another finding.
    """
    contenders = [
        Contender(place, rank_of(place, began, faulty, base), marks(entry)) for place, began, entry in dated
    ]
    for place, gone in base.gone if base is not None else ():
        if isinstance(gone, kind):
            contenders.append(Contender(place, _GONE, marks(gone)))
    firsts: dict[Mark, Contender] = {}
    told: set[str] = set()
    for mine in sorted(contenders, key=lambda c: (c.rank, c.place)):
        met = [(mark, first) for mark in mine.marks if (first := firsts.setdefault(mark, mine)) is not mine]
        if not met or mine.rank.arrival is Arrival.GONE:
            continue
        mark, first = met[0]
        why = _why(first.rank, mine.rank, base)
        yield BoardFinding(mine.place, mark.rule, f"{mark.says} {_named(first)}{why}")
        if first.rank == mine.rank and first.place not in told:
            told.add(first.place)
            yield BoardFinding(first.place, mark.rule, f"{mark.says} {mine.place}{why}")


def _why(first: Rank, mine: Rank, base: BoardBase | None) -> str:
    if first.faulty != mine.faulty:
        return ""
    if first.arrival != mine.arrival:
        return ", which was there before"
    if first.began != mine.began:
        return ", which began earlier, says its signer"
    remedy = "" if base is not None else "; compare with an earlier state of the repository: --base"
    return f", and nothing shows which one is the copy{remedy}"


def _named(contender: Contender) -> str:
    return f"{contender.place} of the base" if contender.rank.arrival is Arrival.GONE else contender.place


def _moment(text: str) -> tuple[str, str]:
    """Return a time in UTC so that texts compare as times do, whatever digits and suffix they have."""
    seconds, _, fraction = text.removesuffix("Z").removesuffix("+00:00").partition(".")
    return seconds, fraction.rstrip("0")

"""Define the rules of a repository of entries, and the findings that name them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BoardRule(StrEnum):
    """A rule that an entry can break."""

    LAYOUT = "layout"
    """An unexpected file or directory, a link, or a directory whose name does not fit its content."""
    MISSING = "missing"
    """A required file is missing."""
    INVALID = "invalid"
    """The bundle, the entry or a file failed verification or is malformed."""
    UNTRUSTED = "untrusted key"
    REVOKED = "revoked key"
    """The signer's key was revoked, in the checker's key directory or in the repository's revoked.json."""
    UNRANKED = "unranked"
    """The result cannot be ranked, for example a smoke run, a host run, or unpinned data."""
    DATA = "data lock"
    """The result's shards are not those of a data lock that the board accepts."""
    DUPLICATE = "duplicate"
    """The same run or series was submitted twice."""
    REPLAY = "replay"
    """Another result has the same nonce or the same output: one run was signed twice."""
    LOOKALIKE = "lookalike"
    """Agent and model look like different names of another entry; a reader would confuse them."""
    SERIES = "series"
    """A run of a series was submitted without the rest of its series."""


BYTES = frozenset({BoardRule.LAYOUT, BoardRule.INVALID})
"""Rules whose findings give exit code 4: the entry has wrong bytes."""


@dataclass(frozen=True, slots=True)
class BoardFinding:
    """One violation of one rule."""

    where: str
    """Path relative to the repository."""
    rule: BoardRule
    message: str

"""What can be wrong with a repository of submissions: rules and findings. Finds nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BoardRule(StrEnum):
    """What can be wrong with a submission."""

    LAYOUT = "layout"
    """A file or folder that has no place there, a link, or a folder that is not named after its content."""
    MISSING = "missing"
    """A file that must be there is not."""
    INVALID = "invalid"
    """Bundle, entry or files are not what was signed, or not of their form."""
    UNTRUSTED = "untrusted key"
    REVOKED = "revoked key"
    """The signer's key was revoked, in the checker's key directory or in the repository's revoked.json."""
    UNRANKED = "unranked"
    """The result can have no rank, whatever it reached: a smoke or host run, unpinned data ..."""
    DUPLICATE = "duplicate"
    """The same run, or the same series, is there twice."""
    REPLAY = "replay"
    """Another result has the same nonce, or the same output to the byte: one run, signed twice."""
    LOOKALIKE = "lookalike"
    """Agent and model look like those of another submission, and are not the same: one row would be two."""
    SERIES = "series"
    """A run that was reserved with others is there without them: a series is submitted whole."""


BYTES = frozenset({BoardRule.LAYOUT, BoardRule.INVALID})
"""Rules whose breach is exit code 4: these are not the bytes that a submission consists of."""


@dataclass(frozen=True, slots=True)
class BoardFinding:
    """One breach of one rule."""

    where: str
    """Relative to the repository."""
    rule: BoardRule
    message: str

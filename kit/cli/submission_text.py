"""Format what is said about a submission's files."""

from __future__ import annotations

from collections.abc import Sequence

from kit.core.text import one_line

SHOWN = 12
"""Names that are listed; the others are counted."""


def left_out_line(names: Sequence[str]) -> str:
    """Return one line that lists the files and directories that are no part of the submission."""
    listed = ", ".join(one_line(name, 60) for name in names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"left out: {listed}{more}"

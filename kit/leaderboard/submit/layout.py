"""List the directories of entries in a repository, and the files in one of them; no link is followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from kit.core.errors import PrerequisiteError
from kit.leaderboard.submit.entry import ROOT
from kit.leaderboard.submit.finding import BoardFinding, BoardRule
from kit.result.statement import SUBMISSION

MAX_RESULTS = 100_000


def entry_places(root: Path, findings: list[BoardFinding]) -> Iterator[str]:
    """Yield the directories of results, three levels below `submissions`."""
    level = [ROOT]
    for _ in range(3):
        below: list[str] = []
        for place in level:
            for entry in sorted(os.scandir(root / place), key=lambda e: e.name):
                name = f"{place}/{_shown(entry.name)}"
                if entry.is_dir(follow_symlinks=False) and entry.name == _shown(entry.name):
                    below.append(name)
                else:
                    findings.append(
                        BoardFinding(
                            name,
                            BoardRule.LAYOUT,
                            "unexpected entry: only directories <task>/<agent>/<run_id> are allowed",
                        )
                    )
        level = below
        if len(level) > MAX_RESULTS:
            raise PrerequisiteError(f"{root} has more than {MAX_RESULTS} directories on one level")
    yield from level


def _shown(name: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in name)


def check_files(
    root: Path, place: str, required: set[str], allowed: frozenset[str]
) -> Iterator[BoardFinding]:
    """Find unexpected and missing files of one directory, and those that are not regular."""
    names = {entry.name: entry for entry in os.scandir(root / place)}
    for name in sorted(set(names) - required - allowed):
        yield BoardFinding(place, BoardRule.LAYOUT, f"unexpected file: {_shown(name)}")
    for name in sorted(required - set(names)):
        yield BoardFinding(place, BoardRule.MISSING, f"{name} is missing")
    for name in sorted((required | allowed) & set(names)):
        entry = names[name]
        plain = (
            entry.is_dir(follow_symlinks=False)
            if name == SUBMISSION
            else entry.is_file(follow_symlinks=False)
        )
        if not plain:
            yield BoardFinding(place, BoardRule.LAYOUT, f"{name} is not a {_kind(name)}")


def _kind(name: str) -> str:
    return "directory" if name == SUBMISSION else "regular file"

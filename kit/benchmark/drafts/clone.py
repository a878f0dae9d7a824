"""Read from a local git directory of upstream what a draft needs: files, directories, the leaderboard."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from kit.core.errors import PrerequisiteError, UsageError
from kit.core.text import is_printable, one_line
from kit.values.output import MAX_LOG

MAX_TREE = 4 << 20
"""Bytes of a directory's listing."""
_LINK = re.compile(r"\[([^]\n]{0,200})\]\([^)\n]{0,500}\)")


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """One record in the table of upstream's README."""

    official_s: float
    date: str
    """ISO 8601."""
    title: str
    contributors: tuple[str, ...]


class UpstreamClone:
    """A git directory of upstream. Only blobs and trees are read: no hook, filter or network."""

    def __init__(self, git_dir: Path) -> None:
        self.git_dir = git_dir

    def commit(self, name: str) -> str:
        """Return the full id of a commit. Raises `PrerequisiteError` if there is none of this name."""
        found = self._git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", limit=64
        )
        if found is None:
            raise PrerequisiteError(
                f"commit {one_line(name)} not found in {self.git_dir}", "fetch it first: git fetch"
            )
        return found.decode("ascii", "replace").strip()

    def file(self, commit: str, path: str) -> bytes | None:
        """Return a file of a commit; None if it is missing. Raises `UsageError` if it is too large."""
        return self._git("cat-file", "blob", f"{commit}:{path}", limit=MAX_LOG)

    def names(self, commit: str, folder: str) -> tuple[str, ...]:
        """Return the names in a directory of a commit, sorted; `folder` is empty for the root."""
        listed = self._git("ls-tree", "--name-only", "-z", f"{commit}:{folder}", limit=MAX_TREE) or b""
        return tuple(sorted(name.decode("utf-8", "replace") for name in listed.split(b"\0") if name))

    def row(self, number: int) -> LeaderboardRow | None:
        """Return a record's row of the leaderboard at the directory's HEAD; None if there is none."""
        text = (self.file("HEAD", "README.md") or b"").decode("utf-8", "replace")
        _, _, table = text.partition("## World record history")
        for line in table.partition("\n## ")[0].splitlines():
            cells = re.split(r" ?\| ", line[:4000])  # the title of record 45 has no space behind it
            if cells[0] == str(number) and len(cells) >= 6:
                return _row(cells)
        return None

    def _git(self, *argv: str, limit: int) -> bytes | None:
        """Return what git prints; None if it fails."""
        # As for CloneFile: another user's directory may be read, and missing objects must not be fetched.
        command = ["git", "-c", "safe.directory=*", "-C", str(self.git_dir), *argv]
        alone = {**os.environ, "GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1"}
        try:
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=alone,
            ) as git:
                data = cast("IO[bytes]", git.stdout).read(limit + 1)
                if len(data) > limit:
                    git.kill()
                    raise UsageError(f"{one_line(argv[-1])} in {self.git_dir} has more than {limit} bytes")
                return data if git.wait() == 0 else None
        except OSError as e:
            raise PrerequisiteError(
                f"cannot start git: {e.strerror}", "install git, or omit --upstream"
            ) from e


def _row(cells: list[str]) -> LeaderboardRow | None:
    minutes = re.match(r"\s*([0-9]{1,4}(?:\.[0-9]{1,6})?)\b", cells[1])
    day = re.fullmatch(r"\s*([01][0-9])/([0-3][0-9])/([0-9]{2})\s*", cells[3])
    if minutes is None or day is None:
        return None
    people = _LINK.sub(r"\1", cells[5]).rstrip(" |")
    title = _LINK.sub(r"\1", cells[2]).strip()
    return LeaderboardRow(
        official_s=round(60 * float(minutes[1]), 3),
        date=f"20{day[3]}-{day[1]}-{day[2]}",
        title=title if is_printable(title) else "",
        contributors=tuple(
            name.strip() for name in people.split(",") if is_printable(name.strip()) and len(name.strip()) > 1
        ),
    )

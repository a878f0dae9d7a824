"""
Recognise the files that `task export` wrote for reading: `TASK.md` and the hints.

The export writes their digests into `MANIFEST`, which is hidden and so no part of a submission. A submission
leaves out a file that is unchanged since. No run gets it, so whoever edits the manifest gains nothing: a file
that a script needs cannot be left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from kit.benchmark.hints import LEVELS, hint_form
from kit.core.digest import Sha256, sha256_bytes

TEXT = "TASK.md"
MANIFEST = ".speedrun-task"
"""Lines of sha256sum: digest, two blanks, name."""
MAX_MANIFEST = 4096
"""Bytes."""
READING = frozenset({TEXT, *(f"hints/{hint_form(level).file}" for level in LEVELS)})
"""The only files that can be left out because of the manifest."""

_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_./-]+)")


def manifest(files: Mapping[str, bytes]) -> bytes:
    """Return the manifest of an exported directory's files; it names those of `READING`."""
    names = sorted(READING & files.keys())
    return "".join(f"{sha256_bytes(files[name])}  {name}\n" for name in names).encode()


def listed(data: bytes) -> dict[str, Sha256]:
    """Return the digests that a manifest states. A line that is not of its form states nothing."""
    lines = data.decode("ascii", errors="replace").split("\n")
    stated = (match for line in lines if (match := _LINE.fullmatch(line)) is not None)
    return {match[2]: Sha256(match[1]) for match in stated if match[2] in READING}

"""Recognize a bag (BagIt, RFC 8493), packed or not. Checks nothing in it, and imports little."""

from __future__ import annotations

from pathlib import Path

TAG_MANIFEST = "tagmanifest-sha256.txt"
_MAGIC = slice(257, 262)
"""Where a tar header has `ustar`."""


def is_bag(path: Path) -> bool:
    """Tell whether a path is an archive, by its name or first bytes, or the directory of a bag."""
    try:
        if path.is_dir():
            return (path / TAG_MANIFEST).is_file()
        if path.suffix in (".tar", ".tgz") or ".tar." in path.name:
            return path.exists()
        if not path.is_file():
            return False
        with path.open("rb") as f:
            return f.read(_MAGIC.stop)[_MAGIC] == b"ustar"
    except OSError:
        return False

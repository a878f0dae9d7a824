"""Find the version of this kit and, in a checkout, its commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

from kit import __version__
from kit.core.facts import PACKAGE
from kit.values.software import Kit


def this_kit() -> Kit:
    """Return the running kit; the commit is None outside a checkout or with uncommitted changes."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return Kit(__version__, None)
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--", "kit", "images", "records")
    clean = commit is not None and len(commit) == 40 and changed == ""
    return Kit(__version__, commit if clean else None)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

"""Find the version of this kit, its commit and its repository."""

from __future__ import annotations

import re
import subprocess
from importlib import metadata
from pathlib import Path

from kit import __version__
from kit.core.extras import DISTRIBUTION
from kit.core.facts import PACKAGE
from kit.values.software import Kit

EMBEDDED = Path("_facts", "commit")
"""File of the package in which `hatch_build.py` embeds the commit that a wheel was built from."""


def this_kit() -> Kit:
    """
    Return the running kit.

    The commit of a checkout is None with uncommitted changes. A wheel states the commit that it was built
    from, if there were no changes; whether its files are still the same is not checked.
    """
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return Kit(__version__, _embedded())
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(
        root, "status", "--porcelain", "--untracked-files=normal", "--", "kit", "images", "records"
    )
    clean = commit is not None and len(commit) == 40 and changed == ""
    return Kit(__version__, commit if clean else None)


def source_url() -> str | None:
    """Return the address of the repository that this kit was installed from, if `hatch_build.py` knew it."""
    try:
        links = metadata.metadata(DISTRIBUTION).get_all("Project-URL") or ()
    except metadata.PackageNotFoundError:  # only on sys.path
        return None
    named = dict(link.partition(", ")[::2] for link in links)
    return named.get("Source")


def _embedded() -> str | None:
    try:
        commit = (PACKAGE / EMBEDDED).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if re.fullmatch(r"[0-9a-f]{40}", commit) else None


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

"""Where the files beside the code are: directories of facts, and the scripts of guests."""

from __future__ import annotations

from pathlib import Path

from kit.core.errors import PrerequisiteError

PACKAGE = Path(__file__).resolve().parents[1]
"""The directory of the package `kit`."""


def guest_file(name: str) -> Path:
    """Return the path of a file in `kit/guest`, for example `isolation.py`."""
    return PACKAGE / "guest" / name


def facts_root() -> Path:
    """
    Return the folder that holds `images/`, `records/` and `hints/`.

    In a checkout it is the folder beside the package; in an installed wheel it is `kit/_facts`.
    """
    for root in (PACKAGE.parent, PACKAGE / "_facts"):
        if (root / "records").is_dir() and (root / "images").is_dir():
            return root
    raise PrerequisiteError(
        "the folders images/ and records/ are not beside the package", "reinstall speedrun-kit"
    )

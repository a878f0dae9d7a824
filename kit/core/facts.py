"""Where the project's facts are: the folders `images/`, `records/` and `hints/`. Reads none of them."""

from __future__ import annotations

from pathlib import Path

from kit.core.errors import PrerequisiteError


def facts_root() -> Path:
    """
    Return the folder that holds `images/`, `records/` and `hints/`.

    In a checkout it is the folder beside the package; in an installed wheel it is `kit/_facts`.
    """
    package = Path(__file__).resolve().parent.parent
    for root in (package.parent, package / "_facts"):
        if (root / "records").is_dir() and (root / "images").is_dir():
            return root
    raise PrerequisiteError(
        "the folders images/ and records/ are not beside the package", "reinstall speedrun-kit"
    )

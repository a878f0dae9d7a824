"""Write the card that makes a site a static Space of the Hugging Face Hub."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from kit.core.errors import UsageError
from kit.core.text import printable

CARD = "README.md"
MAX_TITLE = 1 << 16
"""Bytes of the longest title that is recognised."""
_TITLE = re.compile(rb"^title: .*$", re.MULTILINE)


def require_own_card(site: Path) -> None:
    """
    Raise `UsageError` if `site` has a README.md that `speedrun report` did not write, or that was edited.

    The title may be another one.
    """
    path, own = site / CARD, space_card("")
    if not os.path.lexists(path):
        return
    data = b""
    if path.is_file():
        with path.open("rb") as f:
            data = f.read(len(own) + MAX_TITLE)
    if _TITLE.sub(b"title:", data, count=1) != _TITLE.sub(b"title:", own, count=1):
        raise UsageError(
            f"{path} exists and is not a file that speedrun report wrote",
            "omit --space to keep it; or move it, or choose another --out",
        )


def space_card(title: str) -> bytes:
    """Return the README.md of a Space that serves `index.html` as it is."""
    quoted = json.dumps(printable(title), ensure_ascii=False)
    return f"""---
title: {quoted}
colorFrom: blue
colorTo: gray
sdk: static
app_file: index.html
pinned: false
---

`speedrun report` wrote this board from verified bundles. `results.json` and `results.csv` have every run, and
`bundles/` has the signed results. To check one: `speedrun bundle verify --bundle-only FILE`.
""".encode()

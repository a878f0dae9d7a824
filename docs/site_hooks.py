"""Hooks of mkdocs: pages load nothing from elsewhere, and links that leave docs/ go to the repository."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

_SHIM = re.compile(r"<script src=\"https://unpkg\.com/iframe-worker/shim\"></script>")
_SEARCH = Path(__file__).with_name("site_search.js").read_text(encoding="utf-8")
_COPY = "<style>.highlight code[data-md-copying] :is(.gp, .go) { display: none }</style>"
"""The copy button of a console block takes the commands, without prompts and output."""
_LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)\s#]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Return the page with the links that leave docs/ rewritten; the others stay, and mkdocs checks them."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def outside(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        if target.startswith("docs/"):
            return match[0]
        base = config.repo_url
        return f"[{match[1]}]({base.rstrip('/')}/blob/HEAD/{target})" if base else match[1]

    return _LINK.sub(outside, markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Return the HTML with our style, and our script in place of the one that is loaded from elsewhere."""
    own_script = _SHIM.sub(lambda _: f"<script>{_SEARCH}</script>", output)
    return own_script.replace("</head>", f"{_COPY}</head>", 1)

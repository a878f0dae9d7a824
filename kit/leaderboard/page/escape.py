"""Text from elsewhere as a part of the page: one printable line without markup. Knows no table."""

from __future__ import annotations

import html

from kit.core.text import printable


def escape(text: str) -> str:
    """Return `text` for an element or a quoted attribute; what would not be seen as it is, is replaced."""
    return html.escape(printable(text), quote=True)

"""Parse and format dotted version numbers, as drivers and toolkits use them."""

from __future__ import annotations

import re

Version = tuple[int, ...]


def parse(text: str) -> Version | None:
    """Return the dotted number at the start of `text`, or None if there is none."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else None


def format_version(version: Version) -> str:
    """Return the version as dotted text, without leading zeros."""
    return ".".join(str(part) for part in version)

"""Versions that are dotted numbers, as drivers and toolkits have them. Knows no other kind of version."""

from __future__ import annotations

import re

Version = tuple[int, ...]


def parse(text: str) -> Version | None:
    """Return the leading dotted number of `text`, or None if it starts with none."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else None


def format_version(version: Version) -> str:
    """Return the version with dots; parts keep no leading zeros."""
    return ".".join(str(part) for part in version)

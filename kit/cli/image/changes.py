"""Format the differences between image files for people."""

from __future__ import annotations

from collections.abc import Sequence

from kit.image.diff import ImageChange

SHOWN = 12
"""Entries of a layer that are listed for a person; `--json` has all."""


def format_changes(changes: Sequence[ImageChange], before: str, after: str) -> list[str]:
    """Format changes by layer, the first `SHOWN` of each."""
    lines: list[str] = []
    for layer in dict.fromkeys(c.layer for c in changes):
        mine = [c for c in changes if c.layer == layer]
        mine.sort(key=lambda c: None in (c.before, c.after))
        only = [sum(c.after is None for c in mine), sum(c.before is None for c in mine)]
        lines.append(
            f"files of layer {layer}: {len(mine) - sum(only)} changed,"
            f" {only[0]} only in {before}, {only[1]} only in {after}"
        )
        lines += [f"  {c.name}: {c.before or 'absent'} -> {c.after or 'absent'}" for c in mine[:SHOWN]]
        if len(mine) > SHOWN:
            lines.append(f"  and {len(mine) - SHOWN} more: --json lists all")
    return lines

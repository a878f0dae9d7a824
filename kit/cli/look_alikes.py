"""Say on stderr why lines that look like claims are none."""

from __future__ import annotations

from kit.cli.terminal import note, warn
from kit.core.text import counted
from kit.values.log import Grammar
from kit.values.lookalikes import EXAMPLES, MAX_COUNTED, LookAlikes

MAX_REASONS = 4
"""Reasons that are shown."""


def show_look_alikes(look_alikes: LookAlikes, grammar: Grammar) -> None:
    """Show how many lines nearly are claims, why they are not, and a line that is one."""
    if not look_alikes.lines:
        return
    reasons = look_alikes.reasons[:MAX_REASONS]
    texts = [reason if len(reasons) == 1 else f"{reason} ({number:,})" for reason, number in reasons]
    more = len(look_alikes.reasons) - len(reasons)
    texts += [f"and {counted(more, 'more reason')}"] if more else []
    many = "more than " if look_alikes.lines >= MAX_COUNTED else ""
    verb, are = ("looks like a claim", "is") if look_alikes.lines == 1 else ("look like claims", "are")
    warn(f"{many}{counted(look_alikes.lines, 'line')} {verb} but {are} not: {'; '.join(texts)}")
    note(f"hint: print lines such as {EXAMPLES[grammar]!r}")

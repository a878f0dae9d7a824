"""What people see: messages and progress on stderr, plain when it is not a terminal; JSON on stdout."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

_UNUSUAL = re.compile(r"[^\n -~\ud800-\udfff]")


def complain(message: str, hint: str = "") -> None:
    """Say what went wrong and, on its own line, what to do next."""
    click.secho(f"error: {printable(message)}", fg="red", err=True)
    if hint:
        click.echo(f"  try: {printable(hint)}", err=True)


def note(message: str) -> None:
    """Tell a person something in passing."""
    click.echo(printable(message), err=True)


def emit_json(value: Any) -> None:
    """
    Write one JSON object to stdout.

    Characters that would steer a terminal are escaped; what is no character, as in an odd path, is not.
    """
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    click.echo(_UNUSUAL.sub(lambda c: c[0] if c[0].isprintable() else json.dumps(c[0])[1:-1], text))


def printable(text: str) -> str:
    """Replace control characters, so that text from elsewhere cannot steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def megabytes(size: int) -> str:
    """Spell a number of bytes for a person."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size} B"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: int = 0) -> str:
    """Lay out text in columns, the first `right` of them flush right; control characters are replaced."""
    cells = [[printable(cell).replace("\n", " ") for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        padded = [c.rjust(w) for c, w in zip(row[:right], widths, strict=False)]
        padded += [c.ljust(w) for c, w in zip(row[right:], widths[right:], strict=True)]
        return "  ".join(padded).rstrip()

    return "\n".join(line(row) for row in cells)


class Meter:
    """A `kit.core.store.Progress` that redraws one line on a terminal and prints tenths elsewhere."""

    def __init__(self, spell: Callable[[int], str] = megabytes) -> None:
        self._spell = spell
        """Of what is counted, if not bytes."""
        self._tty = sys.stderr.isatty()
        self._label = ""
        self._last = 0.0
        self._tenth = -1

    def __call__(self, label: str, done: int, total: int) -> None:
        """Show progress, at most ten times a second."""
        if label != self._label:
            self._label, self._tenth, self._last = label, -1, 0.0
        finished = total > 0 and done >= total
        now = time.monotonic()
        if self._tty:
            if finished or now - self._last > 0.1:
                self._last = now
                share = f"{100 * done // total:3d}% of {self._spell(total)}" if total else self._spell(done)
                click.echo(f"\r\x1b[K  {share}  {printable(label)[:70]}", err=True, nl=finished)
        elif total >= 50_000_000 or finished:
            tenth = 10 * done // total if total else 0
            if tenth != self._tenth and (finished or total >= 50_000_000):
                self._tenth = tenth
                click.echo(f"  {10 * tenth:3d}% of {self._spell(total)}  {printable(label)}", err=True)

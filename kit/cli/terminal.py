"""
What people see: messages and progress on stderr, plain when it is not a terminal; JSON on stdout.

This is the only module that writes to the terminal. What it is given as one line is printed as one line,
whatever a string from elsewhere holds (`kit.core.text`).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from kit.core.text import escape_json, printable


def complain(message: str, hint: str = "", details: Sequence[str] = ()) -> None:
    """Say what failed, then its details, then what to do next; each on a line of its own."""
    click.secho(f"error: {printable(message)}", fg="red", err=True)
    for detail in details:
        click.echo(f"  {printable(detail)}", err=True)
    if hint:
        click.echo(f"hint: {printable(hint)}", err=True)


def note(*lines: str) -> None:
    """Tell a person something in passing: each argument is one line on stderr."""
    for line in lines:
        click.echo(printable(line), err=True)


def redraw(line: str = "") -> None:
    """Replace the line that a person's terminal shows last; only for stderr that is a terminal."""
    click.echo(f"\r\x1b[K{printable(line)}", err=True, nl=False)


def say(*lines: str) -> None:
    """Answer on stdout: each argument is one line."""
    for line in lines:
        click.echo(printable(line))


def say_path(path: Path | str) -> None:
    """Answer with a path as the bytes that it is, but for characters that would steer a terminal."""
    text = str(path)
    click.echo("".join(c if "\ud800" <= c <= "\udfff" else printable(f"a{c}")[1:] for c in text))


def say_document(text: str) -> None:
    """Write a document that the kit made, or ships, to stdout as it is. Never for text from elsewhere."""
    click.echo(text, nl=not text.endswith("\n"))


def emit_json(value: Any) -> None:
    """
    Write one JSON object to stdout.

    Characters that `kit.core.text.printable` replaces are escaped, so the values stay what they are.
    """
    click.echo(escape_json(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)))


def megabytes(size: int) -> str:
    """Spell a number of bytes for a person."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size} B"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: int = 0) -> list[str]:
    """Lay out text in columns, the first `right` of them flush right; return the lines, printable."""
    cells = [[printable(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        padded = [c.rjust(w) for c, w in zip(row[:right], widths, strict=False)]
        padded += [c.ljust(w) for c, w in zip(row[right:], widths[right:], strict=True)]
        return "  ".join(padded).rstrip()

    return [line(row) for row in cells]


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

"""Ask before something is deleted: on a terminal a question, elsewhere `--yes` is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from kit.cli.stderr import STDERR
from kit.core.errors import UsageError


def yes_option(before: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return the option `--yes`, passed as `yes: bool`; `before` says which deletion it confirms."""
    return click.option(
        "-y", "--yes", is_flag=True, help=f"Do not ask before {before}. Needed without a terminal."
    )


def confirm(question: str, yes: bool) -> bool:
    """
    Return whether to go on: True with `yes`, else the answer to `question` on the terminal.

    Raises `UsageError` without `yes` if stdin or stderr is not a terminal.
    """
    if yes:
        return True
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"nothing was deleted: no terminal to confirm it on ({question})",
            "pass --yes to go on without a question",
        )
    STDERR.close()
    return click.confirm(question, default=False, err=True)

"""`speedrun hint show`: print one hint."""

from __future__ import annotations

import click

from kit.benchmark.hints import HintLevel, load_hint
from kit.cli.options import TASK_NAME
from kit.cli.terminal import say_document
from kit.core.facts import facts_root


@click.command("show")
@click.argument("task", type=TASK_NAME)
@click.option(
    "--level",
    type=click.IntRange(1, 3),
    required=True,
    help="Hint level: 1 pseudocode, 2 description, 3 paper.",
)
def command(task: int | str, level: int) -> None:
    """Print one hint of a task as Markdown.

    TASK is the name of the task, which is that of its start record: 4, smoke-1.

    \b
    Examples:
      speedrun hint show 4 --level 1
      speedrun hint show 20 --level 3 | less
    """
    say_document(load_hint(facts_root(), task, HintLevel(level)).text)

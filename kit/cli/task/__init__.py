"""`speedrun task`: list the tasks and export them for an agent."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "export": "Write the directory of a task for an agent.",
    "list": "List the tasks: records, time to gain, noise.",
    "show": "Show one task, including its target.",
}


@click.group("task", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """List the tasks and export them for an agent.

    In a task, an agent starts from one record's script and tries to reach the time of the next record.

    \b
    Examples:
      speedrun task list
      speedrun task show 15
      speedrun task export 11 --hints 1,3 --out my-task
    """

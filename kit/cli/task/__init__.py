"""`speedrun task`: the 19 tasks, and folders to hand to an agent. Runs no agent."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "export": "Write a folder to hand to an agent: script, run.toml, TASK.md and the chosen hints.",
    "list": "List the tasks: from which record to which, what there is to gain, how noisy one run is.",
    "show": "Show one task, for its operator: it names the target, so it is not for the agent.",
}


@click.group("task", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Show the 19 tasks and export them as folders for an agent.

    \b
    Examples:
      speedrun task list
      speedrun task show 15
      speedrun task export 11 --hints 1,3 --out my-task
    """

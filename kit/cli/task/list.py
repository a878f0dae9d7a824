"""`speedrun task list`: list the tasks."""

from __future__ import annotations

import click

from kit.benchmark.tasks import load_smoke_tasks, load_tasks
from kit.cli.task.document import document
from kit.cli.terminal import emit_json, say, table
from kit.core.facts import facts_root


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the tasks as JSON.")
def command(as_json: bool) -> None:
    """List the tasks: records, time to gain, noise.

    \b
    Examples:
      speedrun task list
      speedrun task list --json
    """
    tasks = (*load_tasks(facts_root()), *load_smoke_tasks(facts_root()))
    if as_json:
        emit_json({"tasks": [document(t) for t in tasks]})
        return
    rows = [
        (
            t.name,
            t.target.name,
            f"{t.start.reference_ms / 1000:.1f}",
            f"{t.gap_ms / 1000:.1f}",
            f"{100 * t.gap_ms / t.start.reference_ms:.1f} %",
            f"{t.noise:.2f}",
            t.target.title,
        )
        for t in tasks
    ]
    heads = ("task", "to", "start s", "gap s", "gap", "noise", "what the target changed")
    say(*table(heads, rows, right=6))
    say("", "Times are from the paper; noise is the standard error of one run's FSR from timing alone.")
    say("There is no task 6: record 7 is the script of record 6 with a newer PyTorch.")
    say("smoke-1 to smoke-3 are small tasks for two CPU cores, never ranked; their times are the kit's own.")

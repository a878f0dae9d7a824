"""`speedrun task show`: show one task, including its target."""

from __future__ import annotations

import click

from kit.benchmark.tasks import load_task
from kit.benchmark.tasks.task import hints_of
from kit.cli.task.document import document
from kit.cli.terminal import emit_json, say
from kit.core.facts import facts_root


@click.command("show")
@click.argument("number", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print the task as JSON.")
def command(number: int, as_json: bool) -> None:
    """Show one task, including its target.

    Do not show this output to the agent.

    \b
    Examples:
      speedrun task show 15
      speedrun task show 15 --json
    """
    task = load_task(facts_root(), number)
    if as_json:
        emit_json(document(task))
        return
    levels = ", ".join(str(int(level)) for level in hints_of(facts_root(), number)) or "none"
    lines = (
        ("task", f"{number}: from record {number} to record {task.target.number}"),
        ("start", f"{task.start.title} ({task.start.reference_ms:,.0f} ms)"),
        ("target", f"{task.target.title} ({task.target.reference_ms:,.0f} ms)"),
        (
            "gap",
            f"{task.gap_ms:,.0f} ms between the paper's times,"
            f" {100 * task.gap_ms / task.start.reference_ms:.1f} %",
        ),
        ("noise", f"{task.noise:.2f}, the standard error of one run's FSR from timing alone"),
        ("era", task.start.era),
        ("hints", f"levels {levels}"),
    )
    say(*(f"{name:<8} {text}" for name, text in lines))

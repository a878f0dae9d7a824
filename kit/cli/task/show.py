"""`speedrun task show`: show one task, including its target."""

from __future__ import annotations

import click

from kit.benchmark.tasks import Task, load_task
from kit.benchmark.tasks.task import hints_of
from kit.cli.options import TASK_NAME
from kit.cli.task.document import document
from kit.cli.terminal import emit_json, say
from kit.core.facts import facts_root
from kit.values.task_id import is_smoke


@click.command("show")
@click.argument("name", type=TASK_NAME)
@click.option("--json", "as_json", is_flag=True, help="Print the task as JSON.")
def command(name: int | str, as_json: bool) -> None:
    """Show one task, including its target.

    Do not show this output to the agent.

    \b
    Examples:
      speedrun task show 15
      speedrun task show 15 --json
    """
    task = load_task(facts_root(), name)
    if as_json:
        emit_json(document(task))
        return
    levels = ", ".join(str(int(level)) for level in hints_of(facts_root(), name))
    lines = (
        ("task", f"{name}: from record {name} to record {task.target.name}"),
        ("start", f"{task.start.title} ({task.start.reference_ms:,.0f} ms)"),
        ("target", f"{task.target.title} ({task.target.reference_ms:,.0f} ms)"),
        (
            "gap",
            f"{task.gap_ms:,.0f} ms between {_whose(task)} times,"
            f" {100 * task.gap_ms / task.start.reference_ms:.1f} %",
        ),
        ("noise", f"{task.noise:.2f}, the standard error of one run's FSR from timing alone"),
        ("era", task.start.era),
        ("hints", f"levels {levels}" if levels else "none"),
        *_later(task),
    )
    say(*(f"{name:<8} {text}" for name, text in lines))


def _whose(task: Task) -> str:
    if is_smoke(task.name):
        return "the records'"
    return "the paper's" if task.start.transition is None else "the official"


def _later(task: Task) -> list[tuple[str, str]]:
    step = task.start.transition
    if step is None:
        return []
    loss = "not known" if step.runs_for_loss is None else f"{step.runs_for_loss} for the loss at p < 0.01"
    return [
        ("kind", f"{step.kind}, {'recommended' if step.recommended else 'optional: the gap is small'}"),
        ("runs", f"{task.runs_for_time} of each script for an FSR within 0.1; {loss}"),
        ("torch", "the official gap includes a new PyTorch" if step.torch_differs else "the same"),
    ]

"""`speedrun task list`: list the tasks."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import click

from kit.benchmark.records import Transition
from kit.benchmark.tasks import Task, TaskSet, load_smoke_tasks, load_tasks
from kit.cli.options import after_option, set_option, task_choice
from kit.cli.task.document import document
from kit.cli.terminal import emit_json, say, table
from kit.core.facts import facts_root

HEADS = ("task", "to", "start s", "gap s", "gap", "noise")


@click.command("list")
@set_option
@after_option
@click.option("--json", "as_json", is_flag=True, help="Print the tasks as JSON.")
def command(chosen: str | None, after: datetime.datetime | None, as_json: bool) -> None:
    """List the tasks: records, time to gain, noise.

    Of later tasks it also lists what separates both records, and how many runs a result needs.

    \b
    Examples:
      speedrun task list
      speedrun task list --set later
      speedrun task list --after 2026-01-01 --json
    """
    choice, day = task_choice(chosen, after)
    tasks = load_tasks(facts_root(), TaskSet(choice), day)
    smoke = load_smoke_tasks(facts_root()) if choice != TaskSet.LATER and day is None else ()
    if as_json:
        emit_json({"tasks": [document(t) for t in (*tasks, *smoke)]})
        return
    later = [(t, t.start.transition) for t in tasks if t.start.transition is not None]
    papers = [t for t in tasks if t.start.transition is None]
    if papers or smoke:
        _say_paper([*papers, *smoke])
    if later:
        say(*([""] if papers or smoke else []), *_later(later))
    if choice == TaskSet.PAPER and day is None:
        say("Tasks from later records, since May 2025: speedrun task list --set later")
    if not tasks:
        say(f"no task of the set {choice} is newer than {day}")


def _say_paper(tasks: Sequence[Task]) -> None:
    rows = [(*_figures(t), t.target.title) for t in tasks]
    say(*table((*HEADS, "what the target changed"), rows, right=6))
    say("", "Times are from the paper; noise is the standard error of one run's FSR from timing alone.")
    say("There is no task 6: record 7 is the script of record 6 with a newer PyTorch.")
    say("smoke-1 to smoke-3 are small tasks for two CPU cores, never ranked; their times are the kit's own.")


def _later(tasks: Sequence[tuple[Task, Transition]]) -> list[str]:
    heads = (*HEADS, "time runs", "loss runs", "kind", "torch", "advice", "date", "what the target changed")
    rows = [
        (
            *_figures(task),
            str(task.runs_for_time),
            "-" if step.runs_for_loss is None else str(step.runs_for_loss),
            step.kind,
            "differs" if step.torch_differs else "same",
            "recommended" if step.recommended else "optional",
            task.target.date,
            task.target.title,
        )
        for task, step in tasks
    ]
    return [
        *table(heads, rows, right=8),
        "",
        "Times are upstream's. noise: standard error of one run's FSR, if start and target run on the same",
        "machine. time runs: of each script, for a mean FSR within 0.1. loss runs: to show the target's loss",
        "at p < 0.01. torch differs: the gap includes a new PyTorch, which one image does not reproduce.",
    ]


def _figures(t: Task) -> tuple[str, ...]:
    return (
        t.name,
        t.target.name,
        f"{t.start.reference_ms / 1000:.1f}",
        f"{t.gap_ms / 1000:.1f}",
        f"{100 * t.gap_ms / t.start.reference_ms:.1f} %",
        f"{t.noise:.2f}",
    )

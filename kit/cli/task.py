"""`speedrun task`: the 19 tasks, and folders to hand to an agent. Runs no agent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.cli.options import store_option, upstream_option

if TYPE_CHECKING:
    from kit.benchmark.hints import HintLevel
    from kit.benchmark.tasks import Task


@click.group()
def command() -> None:
    """Show the 19 tasks and export them as folders for an agent.

    \b
    Examples:
      speedrun task list
      speedrun task show 15
      speedrun task export 11 --hints 1,3 --out my-task
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Tasks as JSON on stdout.")
def list_tasks(as_json: bool) -> None:
    """List the tasks: from which record to which, what there is to gain, how noisy one run is.

    \b
    Examples:
      speedrun task list
      speedrun task list --json
    """
    from kit.benchmark.tasks import load_tasks
    from kit.cli.terminal import emit_json, table
    from kit.core.facts import facts_root

    tasks = load_tasks(facts_root())
    if as_json:
        emit_json({"tasks": [_document(t) for t in tasks]})
        return
    rows = [
        (
            str(t.number),
            str(t.target.number),
            f"{t.start.retimed_ms / 1000:.1f}",
            f"{t.gap_ms / 1000:.1f}",
            f"{100 * t.gap_ms / t.start.retimed_ms:.1f} %",
            f"{t.noise:.2f}",
            t.target.title,
        )
        for t in tasks
    ]
    heads = ("task", "to", "start s", "gap s", "gap", "noise", "what people did")
    click.echo(table(heads, rows, right=6))
    click.echo("\nTimes are the paper's; noise is the standard error of one run's FSR from timing alone.")
    click.echo("Record 6 starts no task: record 7 is the same script under a newer PyTorch.")


@command.command("show")
@click.argument("number", type=int)
@click.option("--json", "as_json", is_flag=True, help="The task as JSON on stdout.")
def show(number: int, as_json: bool) -> None:
    """Show one task, for its operator: it names the target, so it is not for the agent.

    \b
    Examples:
      speedrun task show 15
      speedrun task show 15 --json
    """
    from kit.benchmark.tasks import load_task
    from kit.benchmark.tasks.task import hints_of
    from kit.cli.terminal import emit_json
    from kit.core.facts import facts_root

    task = load_task(facts_root(), number)
    if as_json:
        emit_json(_document(task))
        return
    levels = ", ".join(str(int(level)) for level in hints_of(facts_root(), number)) or "none"
    lines = (
        ("task", f"{number}: from record {number} to record {task.target.number}"),
        ("start", f"{task.start.title} ({task.start.retimed_ms:,} ms)"),
        ("target", f"{task.target.title} ({task.target.retimed_ms:,} ms)"),
        (
            "gap",
            f"{task.gap_ms:,} ms of the paper's times, {100 * task.gap_ms / task.start.retimed_ms:.1f} %",
        ),
        ("noise", f"{task.noise:.2f} of FSR for one run, from timing alone"),
        ("era", task.start.era),
        ("hints", f"levels {levels}"),
    )
    click.echo("\n".join(f"{name:<8} {text}" for name, text in lines))


@command.command("export")
@click.argument("number", type=int)
@click.option(
    "--hints", "levels", default="0", show_default=True, metavar="L[,L..]", help="0 none, or some of 1,2,3."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder.")
@upstream_option
@store_option
def export(number: int, levels: str, out: Path, mirror: Path | None, store: Path) -> None:
    """Write a folder to hand to an agent: script, run.toml, TASK.md and the chosen hints.

    It holds nothing of the target record beyond what the chosen hints tell.

    \b
    Examples:
      speedrun task export 11 --out task-11
      speedrun task export 4 --hints 1,2,3 --out task-04 --mirror ../modded-nanogpt/.git
    """
    from kit.benchmark.records import fetch_script, sources
    from kit.benchmark.tasks import export as write
    from kit.benchmark.tasks import load_task
    from kit.cli.terminal import Meter
    from kit.core.facts import facts_root
    from kit.core.store import Store

    root = facts_root()
    wanted = _levels(levels)
    start = load_task(root, number).start
    script = fetch_script(start, Store(store), sources(start.script.origin, mirror), Meter())
    click.echo(write(root, number, wanted, script, out).folder)


def _levels(text: str) -> tuple[HintLevel, ...]:
    from kit.benchmark.hints import HintLevel
    from kit.core.errors import UsageError

    try:
        found = tuple(HintLevel(int(part)) for part in text.split(","))
    except ValueError as e:
        raise UsageError(
            f"--hints {text!r} is no list of levels", "for example: --hints 0, --hints 2, --hints 1,3"
        ) from e
    if HintLevel.NONE in found and len(found) > 1:
        raise UsageError(
            f"--hints {text!r}: 0 means none and stands alone", "for example: --hints 0, or --hints 1,3"
        )
    return found


def _document(task: Task) -> dict[str, Any]:
    return {
        "task": task.number,
        "target": task.target.number,
        "start_retimed_ms": task.start.retimed_ms,
        "target_retimed_ms": task.target.retimed_ms,
        "gap_ms": task.gap_ms,
        "noise": task.noise,
        "era": task.start.era,
        "title": task.target.title,
    }

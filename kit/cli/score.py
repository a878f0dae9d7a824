"""`speedrun score`: compute FSR and aggregates of many runs."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.benchmark.tasks import Task, TaskSet, load_tasks
from kit.cli.extras import require_score
from kit.cli.options import Number, after_option, keys_option, set_option, task_choice
from kit.cli.terminal import note, warn
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.core.text import counted, in_shell
from kit.result.keys import trusted
from kit.score.rows import Row, read_bundles, read_table

if TYPE_CHECKING:
    from kit.score.report import ConfigScore


@click.command(name="score")
@click.argument("bundles", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "--table",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV file of runs. Columns: task; val_loss and train_time_ms, or fsr; optionally config, role, "
    "machine and run.",
)
@click.option(
    "--baseline",
    type=click.Choice(["auto", "same-machine", "scaled", "re-timed", "official"]),
    default="auto",
    show_default=True,
    help="Reference times for FSR; auto takes the best available ones.",
)
@click.option("--partial", is_flag=True, help="Leave out tasks without a run instead of counting them as 0.")
@click.option(
    "--paper-rules", is_flag=True, help="Use the rules of the paper's released analysis, for comparison."
)
@click.option(
    "--power", "show_power", is_flag=True, help="Print how many runs upstream's p < 0.01 needs, then exit."
)
@click.option(
    "--sd",
    type=Number(min=0, min_open=True),
    default=0.0017,
    show_default=True,
    help="Standard deviation of the final loss, for --power.",
)
@click.option(
    "--margin",
    type=Number(min=0, min_open=True),
    default=0.002,
    show_default=True,
    help="Distance of the mean loss from the target, for --power.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the bootstrap."
)
@click.option(
    "--repetitions",
    type=click.IntRange(100, 1_000_000),
    default=50_000,
    show_default=True,
    help="Repetitions of the bootstrap.",
)
@set_option
@after_option
@keys_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(**options: Any) -> None:
    """Compute scores (FSR) from signed results or a table.

    FSR, the fraction of speedup recovered, is (start - time) / (start - target): 0 is the time of the start
    record, 1 that of the next record. A run that failed, ended above 3.28 or is slower than its start scores
    0. Every run and every task of the set count: the paper's 19, unless --set or --after is given. Runs with
    the role start or target, or bundles of the records' own scripts, give a baseline on the same machine.

    \b
    Examples:
      speedrun score runs/r*/
      speedrun score --table runs.csv --json
      speedrun score --table runs.csv --paper-rules
      speedrun score --power --sd 0.0017 --margin 0.002
    """
    require_score()
    from kit.cli.score_text import show_paper, show_power, show_scores
    from kit.score.baseline import BaselineKind
    from kit.score.paper import paper_score
    from kit.score.report import score

    if options["show_power"]:
        show_power(options["sd"], options["margin"], options["as_json"])
        return
    rows = _rows(options["bundles"], options["table"], options["keys"])
    tasks, rows = _selected(rows, *task_choice(options["chosen"], options["after"]))
    drawn = {"seed": options["seed"], "repetitions": options["repetitions"]}
    if options["paper_rules"]:
        show_paper(paper_score(rows, tasks, **drawn), options["as_json"])
        return
    kind = None if options["baseline"] == "auto" else BaselineKind(options["baseline"])
    scores = score(rows, tasks, baseline_kind=kind, partial=options["partial"], **drawn)
    show_scores(scores, drawn, options["as_json"])
    if marked := _torch_in_gap(scores, tasks):
        which = f"{'task' if len(marked) == 1 else 'tasks'} {', '.join(marked)}"
        warn(f"the gap of {which} includes a new PyTorch, which counts as speedup here")
        note("hint: time both records too: speedrun eval --record N --submission DIR --runs 3 --interleave")


def _rows(bundles: tuple[Path, ...], table: Path | None, keys: Path) -> tuple[Row, ...]:
    if bool(bundles) == (table is not None):
        raise UsageError("pass either bundles or --table", "for example: speedrun score runs/r*/")
    if table is not None:
        return read_table(table)
    if tables := [path for path in bundles if path.suffix == ".csv"]:
        raise UsageError(
            f"{tables[0]} is a table, not a bundle", f"speedrun score --table {in_shell(tables[0])}"
        )
    rows, notes = read_bundles(bundles, trusted(keys), facts_root() / "records")
    for text in notes:
        note(text)
    return rows


def _torch_in_gap(scores: tuple[ConfigScore, ...], tasks: tuple[Task, ...]) -> list[str]:
    """Return the tasks with the T mark of which a run was compared with a time of another machine."""
    from kit.score.baseline import BaselineKind

    compared = {
        str(t.task) for score in scores for t in score.tasks if set(t.kinds) - {BaselineKind.SAME_MACHINE}
    }
    steps = ((task.name, task.start.transition) for task in tasks)
    return [name for name, step in steps if step is not None and step.torch_differs and name in compared]


def _selected(
    rows: tuple[Row, ...], chosen: str, after: datetime.date | None
) -> tuple[tuple[Task, ...], tuple[Row, ...]]:
    """Return the tasks of a set and their rows. Raises `UsageError` if there are none."""
    from kit.score.selection import rows_within

    tasks = load_tasks(facts_root(), TaskSet(chosen), after)
    name = f"the set {chosen}" + (f" after {after}" if after else "")
    if not tasks:
        raise UsageError(f"no task is in {name}", "list tasks: speedrun task list --set all")
    kept, left_out = rows_within(rows, tasks, load_tasks(facts_root(), TaskSet.ALL), name)
    if left_out:
        note(f"left out {counted(left_out, 'run')} of tasks that are not in {name}")
    return tasks, kept

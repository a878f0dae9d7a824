"""`speedrun hint`: show the hints and check them against the house style."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kit.cli.options import store_option

if TYPE_CHECKING:
    from kit.benchmark.hints.lint import TaskScripts


@click.group()
def command() -> None:
    """Show and check the hints of the 19 tasks.

    \b
    Examples:
      speedrun hint show 4 --level 2
      speedrun hint lint
    """


@command.command("show")
@click.argument("task", type=int)
@click.option(
    "--level", type=click.IntRange(1, 3), required=True, help="1 pseudocode, 2 description, 3 paper"
)
def show(task: int, level: int) -> None:
    """Print one hint of TASK (its start record) as Markdown.

    \b
    Examples:
      speedrun hint show 4 --level 1
      speedrun hint show 20 --level 3 | less
    """
    from kit.benchmark.hints import HintLevel, load_hint
    from kit.core.facts import facts_root

    click.echo(load_hint(facts_root(), task, HintLevel(level)).text, nl=False)


@command.command("lint")
@click.argument("tasks", type=int, nargs=-1)
@store_option
@click.option(
    "--mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="git directory of the upstream repository: look also for overlap with the scripts",
)
@click.option("--json", "as_json", is_flag=True, help="findings as JSON on stdout")
def lint_hints(tasks: tuple[int, ...], store: Path, mirror: Path | None, as_json: bool) -> int:
    """Check the hints of TASKS (all 19 when none is named); exit 1 if a rule is broken.

    \b
    Examples:
      speedrun hint lint
      speedrun hint lint --mirror ~/modded-nanogpt
      speedrun hint lint 4 5 --json
    """
    from dataclasses import asdict

    from kit.benchmark.hints import LEVELS, TASKS, load_hint, load_markers
    from kit.benchmark.hints.lint import lint
    from kit.cli.terminal import emit_json, note, printable
    from kit.core.facts import facts_root

    root = facts_root()
    markers = load_markers(root)
    hints = [load_hint(root, task, level) for task in tasks or TASKS for level in LEVELS]
    scripts = {h.task: _scripts(root, h.task, store, mirror) for h in hints} if mirror else {}
    findings = [finding for hint in hints for finding in lint(hint, markers, scripts.get(hint.task))]
    if as_json:
        rows = [asdict(f) | {"level": int(f.level)} for f in findings]
        emit_json({"hints": len(hints), "overlap_checked": mirror is not None, "findings": rows})
    else:
        for f in findings:
            where = f"task {f.task} level {int(f.level)} line {f.line}"
            click.echo(printable(f"{where}: {f.rule.value}: {f.message}"))
        unread = "" if mirror else "; overlap with the scripts was not looked at (--mirror)"
        apart = "\n" if findings else ""  # also where stdout and stderr were captured apart and joined
        note(f"{apart}{len(hints)} hints, {len(findings)} findings{unread}")
    return 1 if findings else 0


def _scripts(root: Path, task: int, store: Path, mirror: Path) -> TaskScripts:
    from kit.benchmark import records
    from kit.benchmark.hints import target_of
    from kit.benchmark.hints.lint import TaskScripts
    from kit.core.store import Store

    texts: list[str] = []
    for number in (task, target_of(task)):
        record = records.load(root / "records", number)
        found = records.fetch_script(record, Store(store), records.sources(record.script.origin, mirror))
        texts.append((found / record.script.entry).read_text(encoding="utf-8"))
    return TaskScripts(*texts)

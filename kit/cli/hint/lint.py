"""`speedrun hint lint`: check hints against the style rules."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from kit.benchmark import records
from kit.benchmark.hints import LEVELS, SMOKE_TASKS, known_hints, load_hint, load_markers
from kit.benchmark.hints.lint import TaskScripts, lint
from kit.benchmark.tasks import load_task
from kit.cli.options import TASK_NAME, store_option
from kit.cli.terminal import emit_json, note, say
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.core.text import counted
from kit.values.task_id import LATER_SET, PAPER_SET, set_of


@click.command("lint")
@click.argument("tasks", type=TASK_NAME, nargs=-1)
@store_option
@click.option(
    "--upstream",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="Clone of KellerJordan/modded-nanogpt: also check for overlap with its scripts.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(tasks: tuple[int | str, ...], store: Path, upstream: Path | None, as_json: bool) -> int:
    """Check hints against the style rules.

    TASKS are names of tasks; without any, all hints except those of smoke tasks are checked. Exit 1: a hint
    breaks a rule.

    \b
    Examples:
      speedrun hint lint
      speedrun hint lint --upstream ~/modded-nanogpt
      speedrun hint lint 4 5 --json
      speedrun hint lint smoke-1 smoke-2 smoke-3
    """
    root = facts_root()
    known = (*known_hints(root, PAPER_SET), *known_hints(root, LATER_SET))
    hints = [load_hint(root, task, level) for task in tasks or known for level in LEVELS]
    markers = {s: load_markers(root, s) for s in sorted({set_of(str(h.task)) for h in hints})}
    at_hand = [h.task for h in hints if upstream or h.task in SMOKE_TASKS]
    scripts = {task: _scripts(root, task, store, upstream) for task in at_hand}
    checked = len(at_hand) == len(hints)
    findings = [
        finding
        for hint in hints
        for finding in lint(hint, markers[set_of(str(hint.task))], scripts.get(hint.task))
    ]
    if as_json:
        rows = [asdict(f) | {"level": int(f.level)} for f in findings]
        emit_json({"hints": len(hints), "overlap_checked": checked, "findings": rows})
    else:
        for f in findings:
            where = f"task {f.task} level {int(f.level)} line {f.line}"
            say(f"{where}: {f.rule.value}: {f.message}")
        unread = "" if checked else "; overlap with the scripts not checked (needs --upstream)"
        apart = [""] if findings else []  # a blank line, also where stdout and stderr are one stream
        note(*apart, f"{counted(len(hints), 'hint')}, {counted(len(findings), 'finding')}{unread}")
    return 1 if findings else 0


def _scripts(root: Path, task: int | str, store: Path, upstream: Path | None) -> TaskScripts:
    chosen, texts = load_task(root, task), []
    for record in (chosen.start, chosen.target):
        folder = records.fetch_script(record, Store(store), records.sources(upstream))
        files = (folder / file.name for file in record.script.files)
        texts.append("\n".join(path.read_text(encoding="utf-8") for path in files))
    return TaskScripts(*texts)

"""`speedrun hint lint`: check the hints against the house style."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from kit.benchmark import records
from kit.benchmark.hints import LEVELS, TASKS, load_hint, load_markers, target_of
from kit.benchmark.hints.lint import TaskScripts, lint
from kit.cli.options import store_option
from kit.cli.terminal import emit_json, note, say
from kit.core.facts import facts_root
from kit.core.store import Store


@click.command("lint")
@click.argument("tasks", type=int, nargs=-1)
@store_option
@click.option(
    "--mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="git directory of the upstream repository: look also for overlap with the scripts",
)
@click.option("--json", "as_json", is_flag=True, help="findings as JSON on stdout")
def command(tasks: tuple[int, ...], store: Path, mirror: Path | None, as_json: bool) -> int:
    """Check the hints of TASKS (all 19 when none is named); exit 1 if a rule is broken.

    \b
    Examples:
      speedrun hint lint
      speedrun hint lint --mirror ~/modded-nanogpt
      speedrun hint lint 4 5 --json
    """
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
            say(f"{where}: {f.rule.value}: {f.message}")
        unread = "" if mirror else "; overlap with the scripts was not looked at (--mirror)"
        apart = [""] if findings else []  # also where stdout and stderr were captured apart and joined
        note(*apart, f"{len(hints)} hints, {len(findings)} findings{unread}")
    return 1 if findings else 0


def _scripts(root: Path, task: int, store: Path, mirror: Path) -> TaskScripts:
    texts: list[str] = []
    for number in (task, target_of(task)):
        record = records.load(root / "records", number)
        folder = records.fetch_script(record, Store(store), records.sources(mirror))
        texts.append((folder / record.script.entry).read_text(encoding="utf-8"))
    return TaskScripts(*texts)

"""`speedrun rubric lint`: check rubrics, with the tasks' scripts if they are available."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from kit.cli.options import TASK_NAME, store_option, upstream_option
from kit.cli.terminal import emit_json, note, say
from kit.core.facts import facts_root
from kit.core.text import counted
from kit.judge.lint import lint_rubric
from kit.judge.rubric import known_rubrics, load_rubric
from kit.judge.scripts import task_pair
from kit.values.task_id import listed_as


@click.command("lint")
@click.argument("tasks", type=TASK_NAME, nargs=-1)
@store_option
@upstream_option
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(tasks: tuple[int | str, ...], store: Path, upstream: Path | None, as_json: bool) -> int:
    """Check that probes tell start from target.

    TASKS are names of tasks; without any, all rubrics are checked. With --upstream, the probes are also tried
    on each task's start script (D at most 0.1) and target script (D at least 0.9). Exit 1: a rubric breaks
    a rule.

    \b
    Examples:
      speedrun rubric lint
      speedrun rubric lint --upstream ~/modded-nanogpt
      speedrun rubric lint 4 5 --json
    """
    root = facts_root()
    rubrics = [load_rubric(root, task) for task in tasks or known_rubrics(root)]
    findings = [
        finding
        for rubric in rubrics
        for finding in lint_rubric(
            rubric, None if upstream is None else task_pair(root, listed_as(rubric.task), store, upstream)
        )
    ]
    if as_json:
        emit_json(
            {
                "rubrics": len(rubrics),
                "scores_checked": upstream is not None,
                "findings": [asdict(finding) for finding in findings],
            }
        )
    else:
        for f in findings:
            say(f"task {f.task}: {f.rule.value}: {f.message}")
        untried = "" if upstream else "; scripts not judged (needs --upstream)"
        note(f"{counted(len(rubrics), 'rubric')}, {counted(len(findings), 'finding')}{untried}")
    return 1 if findings else 0

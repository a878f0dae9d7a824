"""`speedrun agent probe`: find out whether a model knows a task's target from memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from kit.agent.costs import ProfilePrices
from kit.agent.llm.profile import ModelProfile
from kit.agent.llm.scripted import SCRIPTED, AnswerScript
from kit.benchmark.tasks import Task, load_task
from kit.cli.extras import require_score
from kit.cli.interrupt import cancellable
from kit.cli.model_calls import check_cost, model_call_options, profile_of, recorded, recorder, transport_of
from kit.cli.options import TASK_NAME, store_option, upstream_option
from kit.cli.terminal import emit_json, say, table, warn
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.core.files import make_folder
from kit.judge.asked import require_fit
from kit.judge.recall import SAMPLES, Recall, RecallModel, RecallTask, RecallVerdict, recall_request
from kit.judge.rubric import known_rubrics, load_rubric
from kit.judge.scripts import record_files
from kit.values.task_id import file_label


@click.command("probe")
@click.option(
    "--task",
    "tasks",
    type=TASK_NAME,
    multiple=True,
    metavar="N",
    help="Task, named by its start record: 3. Repeatable.",
)
@click.option("--model", metavar="FILE|scripted", help="Profile of an endpoint and its model (TOML).")
@model_call_options(SAMPLES, "Answers for each task.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("probes"),
    show_default=True,
    help="Directory for recorded answers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@store_option
@upstream_option
def command(**options: Any) -> int:
    """
    Find out whether a model knows a task's target from memory.

    The model gets the start script and the number of the next record, and is asked for that record's script
    from memory, or for the word UNKNOWN. Each answer is compared with the target: the share of the target's
    new lines that it has, token for token; and, if its edit applies to the start script, D and the distance
    recovered. The best answer counts: from half of the new lines on the model knows the target, from a tenth
    on a part of it.

    The model's cut-off, as its profile states it, is printed beside the target record's date. A model can
    know more than it says, and more than its cut-off: `not_shown` is no proof. New lines can also come from a
    good guess where the change is small.

    Answers are recorded in --out. The same command goes on with them after an interruption.

    Exit 0: no target is known. 1: at least one is, also in part. 5: no answer about a task.

    \b
    Examples:
      speedrun agent probe --task 3 --model model.toml
      speedrun agent probe --task 1 --task 2 --task 3 --model model.toml --samples 5 --json
      speedrun agent probe --task 3 --model scripted --answers answers.toml
    """
    require_score()
    if not options["tasks"] or options["model"] is None:
        missing = "--model" if options["tasks"] else "--task"
        raise UsageError(f"{missing} is missing", "for example: --task 3 --model model.toml")
    if (options["model"] == SCRIPTED) != (options["answers"] is not None):
        raise UsageError("--answers and --model scripted belong together", "pass both, or a model's profile")
    profile, script = profile_of(options["model"], options["answers"])
    for text in profile.warnings():
        warn(text)
    asked = [_task(name, options["store"], options["upstream"]) for name in dict.fromkeys(options["tasks"])]
    _check_calls(profile, [task for _, task in asked], options["samples"], options["usd"])
    with cancellable() as cancelled:
        found = [
            (
                task,
                _model(profile, script, recalled.name, options["out"], cancelled).ask(
                    recalled, options["samples"]
                ),
            )
            for task, recalled in asked
        ]
    if options["as_json"]:
        emit_json(
            {"model": profile.name, "cutoff": profile.knowledge_cutoff, "tasks": _documents(profile, found)}
        )
    else:
        say(*_lines(profile, found))
    verdicts = {recall.verdict for _, recall in found}
    if RecallVerdict.NO_ANSWER in verdicts:
        return 5
    return int(bool(verdicts & {RecallVerdict.KNOWS, RecallVerdict.PARTLY}))


def _task(name: int | str, store: Path, upstream: Path | None) -> tuple[Task, RecallTask]:
    task, root = load_task(facts_root(), name), facts_root()
    start, target = (record_files(record, store, upstream) for record in (task.start, task.target))
    rubric = load_rubric(root, task.name) if task.name in known_rubrics(root) else None
    entry = task.start.script.entry
    return task, RecallTask(task.name, task.target.name, start, target, entry, rubric)


def _check_calls(profile: ModelProfile, tasks: list[RecallTask], samples: int, limit: float | None) -> None:
    """Refuse prompts that do not fit, and calls that may cost more than the limit."""
    prices, most = ProfilePrices(profile), 0.0
    if not prices.known:
        check_cost(None, limit)
    for task in tasks:
        request = recall_request(profile, task)
        require_fit(profile, request, f"the prompt of task {task.name}")
        most += samples * (prices.worst(request)[1] or 0.0)
    check_cost(most, limit)


def _model(
    profile: ModelProfile, script: AnswerScript | None, task: str, out: Path, cancelled: Callable[[], bool]
) -> RecallModel:
    folder = out / f"{file_label(task)}-{profile.sha256()[:16]}.calls"
    make_folder(folder)
    transport = transport_of(profile, script, task)
    return RecallModel(profile, transport, recorder(folder, f"{folder.name}/"), cancelled, recorded(folder))


def _before_cutoff(profile: ModelProfile, task: Task) -> bool | None:
    """Tell whether the target was public before the model's cut-off; None if that is unknown."""
    return None if profile.knowledge_cutoff is None else task.target.date <= profile.knowledge_cutoff


def _documents(profile: ModelProfile, found: list[tuple[Task, Recall]]) -> list[dict[str, Any]]:
    return [
        {
            "task": recall.task,
            "target": task.target.name,
            "target_date": task.target.date,
            "target_before_cutoff": _before_cutoff(profile, task),
            "verdict": recall.verdict.value,
            "share": recall.share,
            "new_lines": recall.new_lines,
            "samples": [asdict(sample) for sample in recall.samples],
        }
        for task, recall in found
    ]


def _lines(profile: ModelProfile, found: list[tuple[Task, Recall]]) -> list[str]:
    rows = []
    for task, recall in found:
        told = [s for s in recall.samples if s.fault is None]
        best = max(told, key=lambda sample: sample.lines, default=None)
        rows.append(
            (
                recall.task,
                task.target.date,
                {True: "yes", False: "no", None: "?"}[_before_cutoff(profile, task)],
                "-" if best is None else f"{best.lines} of {recall.new_lines}",
                "-" if best is None or best.d is None else f"{best.d:.2f}",
                "-" if best is None or best.recovered is None else f"{best.recovered:.2f}",
                f"{sum(s.says_unknown for s in told)} of {len(told)}",
                recall.verdict.value,
            )
        )
    heads = ("task", "target of", "before cut-off", "new lines", "D", "distance", "unknown", "verdict")
    cutoff = profile.knowledge_cutoff or "not in the profile"
    return [f"model {profile.name}, knowledge cut-off: {cutoff}", *table(heads, rows)]

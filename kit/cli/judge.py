"""`speedrun judge`: how much of a task's change a script contains."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from kit import __version__
from kit.agent.llm.scripted import SCRIPTED
from kit.cli.interrupt import cancellable
from kit.cli.judge_text import calibration_document, calibration_lines, judgement_document, judgement_lines
from kit.cli.model_calls import check_cost, model_call_options, profile_of, recorded, recorder, transport_of
from kit.cli.options import TASK_NAME, keys_option, store_option, upstream_option
from kit.cli.terminal import emit_json, note, say, say_path, warn
from kit.core.errors import PrerequisiteError, UsageError
from kit.core.facts import facts_root
from kit.core.files import make_folder
from kit.judge.calibration import CalibrationRow, calibrate_task, load_variants
from kit.judge.deterministic import ProbeScore, score_probes
from kit.judge.judgement import Judgement, ModelJudgement, judgement_path, read_judgement, write_judgement
from kit.judge.model_score import SAMPLES, ModelJudge, score_model
from kit.judge.paraphrase import paraphrase
from kit.judge.prompt import judge_prompts_sha256
from kit.judge.rubric import Rubric, known_rubrics, load_rubric
from kit.judge.scripts import JudgedScript, TaskPair, read_judged, require_whole, task_pair
from kit.result.keys import load_or_create, trusted
from kit.values.task_id import listed_as

SCRIPT_HOST = "script"
"""The host of answers from a file."""


@click.command("judge")
@click.argument("script", type=click.Path(path_type=Path), required=False)
@click.option(
    "--task", "tasks", type=TASK_NAME, multiple=True, metavar="N", help="Task, named by its start record: 3."
)
@click.option(
    "--model",
    metavar="FILE|scripted",
    help="Profile of an endpoint and its model (TOML), for L.  [default: D alone]",
)
@model_call_options(SAMPLES, "Answers of the model about each of three scripts.")
@click.option("--calibrate", is_flag=True, help="Judge scripts whose share of the change is known.")
@click.option(
    "--variants",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory with half-done variants, for --calibrate.",
)
@click.option("--verify", is_flag=True, help="SCRIPT is a judgement: verify its signature and show it.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("judgements"),
    show_default=True,
    help="Directory for signed judgements.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a path.")
@store_option
@upstream_option
@keys_option
def command(**options: Any) -> int:
    """
    Judge how much of a task's change a script contains.

    SCRIPT is a submission, the directory of a run, or a Python file if the task's scripts are single files
    without arguments. D is the share of the rubric's weight whose probes hold: deterministic predicates on
    the code, without comments, docstrings and unused definitions. No model is asked. Names that a script
    gives do not matter.

    With --model, L is the share that a model sees: several answers with shuffled items, and a quote for each
    item; a quote that is not in the script voids its item. Every judgement also judges the task's start
    script (L must be 0 within 0.1), its target (1 within 0.1), and the script with texts that praise it (the
    prompt must be the same). If a control fails, the judgement is marked `unreliable`.

    The judgement is signed and written to --out, under a predicate of its own. It never enters a score or a
    tier, and no probe proves that a script works.

    Answers are recorded beside the judgement. The same command goes on with them after an interruption.

    --calibrate prints accuracy, precision, recall and F1 of the probes over start, target, half-done,
    paraphrased and injected scripts of the tasks.

    Exit 1: a control failed, a calibrated script is outside its tolerance, or with --verify, the key is not
    trusted.

    \b
    Examples:
      speedrun judge my-task --task 3
      speedrun judge runs/<run_id> --task 12 --model model.toml
      speedrun judge --verify judgements/03-0123456789abcdef.json
      speedrun judge --calibrate --upstream ~/modded-nanogpt
    """
    _check_options(options)
    if options["verify"]:
        return _verify(options)
    root = facts_root()
    if options["calibrate"]:
        return _calibrate(root, options)
    (task,) = options["tasks"]
    rubric, judged = load_rubric(root, task), read_judged(options["script"])
    require_whole(judged, root, task)
    pair = task_pair(root, task, options["store"], options["upstream"])
    probes = score_probes(rubric, judged.source, pair.start)
    model = None if options["model"] is None else _ask(rubric, judged, pair, probes, options)
    judgement = Judgement(
        task=rubric.task,
        kit_version=__version__,
        judged_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        rubric_sha256=rubric.sha256,
        source_sha256=judged.source.sha256(),
        probes=probes,
        model=model,
    )
    path = write_judgement(options["out"], judgement, judged.sha256, load_or_create(options["keys"]))
    if options["as_json"]:
        emit_json({"path": str(path), **judgement_document(judgement, judged.sha256)})
    else:
        note(*judgement_lines(judgement, rubric))
        say_path(path)
    return 0 if model is None or model.score.reliable else 1


def _check_options(options: dict[str, Any]) -> None:
    """Refuse options that do not belong together."""
    if options["calibrate"]:
        if options["script"] is not None or options["model"] is not None or options["verify"]:
            raise UsageError("--calibrate takes no script, no --model and no --verify", "omit them")
        return
    if options["variants"] is not None:
        raise UsageError("--variants needs --calibrate", "omit --variants")
    if options["verify"] and (options["tasks"] or options["model"] is not None):
        raise UsageError("--verify takes no --task and no --model", "omit them: the judgement names both")
    if options["script"] is None:
        raise UsageError("the script is missing", "for example: speedrun judge my-task --task 3")
    if not options["verify"] and len(options["tasks"]) != 1:
        raise UsageError(f"one --task is needed, {len(options['tasks'])} given", "for example: --task 3")
    if options["answers"] is not None and options["model"] != SCRIPTED:
        raise UsageError("--answers needs --model scripted", "omit --answers")
    if options["model"] == SCRIPTED and options["answers"] is None:
        raise UsageError("--model scripted needs --answers", "pass a file of answers, or a model's profile")


def _ask(
    rubric: Rubric, judged: JudgedScript, pair: TaskPair, probes: ProbeScore, options: dict[str, Any]
) -> ModelJudgement:
    """Ask the model, and keep its answers beside the judgement."""
    profile, script = profile_of(options["model"], options["answers"])
    transport = transport_of(profile, script, rubric.task)
    for text in profile.warnings():
        warn(text)
    calls = judgement_path(options["out"], rubric.task, judged.sha256).with_suffix(".calls")
    with cancellable() as cancelled:
        judge = ModelJudge(profile, transport, recorder(calls), cancelled, recorded(calls))
        check_cost(judge.most_usd(rubric, judged.source, pair, options["samples"]), options["usd"])
        make_folder(calls)
        score = score_model(judge, rubric, judged.source, pair, probes, options["samples"])
    return ModelJudgement(
        profile_name=profile.name,
        asked_model=profile.model,
        host=SCRIPT_HOST if script is not None else urlsplit(profile.base_url).hostname or "",
        profile_sha256=profile.sha256(),
        prompts_sha256=judge_prompts_sha256(),
        score=score,
    )


def _verify(options: dict[str, Any]) -> int:
    if options["script"].is_dir():
        raise PrerequisiteError(f"{options['script']} is a directory", "pass a file of a judgement")
    signed = read_judgement(options["script"], trusted(options["keys"]))
    code = 0 if signed.trusted else 1
    if options["as_json"]:
        emit_json(
            {
                **judgement_document(signed.judgement, signed.submission_sha256),
                "key_id": signed.key_id,
                "trusted": signed.trusted,
            }
        )
        return code
    say(*judgement_lines(signed.judgement))
    say(f"signature: valid, by key {signed.key_id[:12]} ({'trusted' if signed.trusted else 'not trusted'})")
    return code


def _calibrate(root: Path, options: dict[str, Any]) -> int:
    variants = options["variants"]
    rows: list[CalibrationRow] = []
    for task in options["tasks"] or known_rubrics(root):
        rubric = load_rubric(root, task)
        pair = task_pair(root, listed_as(rubric.task), options["store"], options["upstream"])
        half = () if variants is None else load_variants(variants, rubric.task, pair)
        rows += calibrate_task(rubric, pair, half, paraphrase)
    if options["as_json"]:
        emit_json(calibration_document(rows, variants is not None))
    else:
        say(*calibration_lines(rows))
        if variants is None:
            note("half-done scripts are left out: pass their directory with --variants")
    return 0 if all(row.passed for row in rows) else 1

"""`speedrun eval`: show one evaluation on stderr while it goes on, and print its bundle's path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kit.cli import live, result_lines
from kit.cli.extras import require_score
from kit.cli.interrupt import cancellable
from kit.cli.machine import load_per_core
from kit.cli.options import (
    TASK_NAME,
    deadline_options,
    keys_option,
    mirror_option,
    profile_option,
    python_option,
    store_option,
)
from kit.cli.places import places as places_of
from kit.cli.plan_text import format_plan
from kit.cli.platforms import require_run_platform
from kit.cli.quick import run_quick
from kit.cli.recovery import recover_runs, recover_series
from kit.cli.runtime import guest_python, runtime_option, select_runtime
from kit.cli.stderr import STDERR
from kit.cli.submission_text import left_out_line
from kit.cli.terminal import emit_json, note, say, say_path
from kit.core.errors import UsageError
from kit.evaluate.audits import AuditSelection, RerunAudit, select_audits
from kit.evaluate.describe import describe_plan
from kit.evaluate.plan import RunPlan, draft
from kit.evaluate.prepare import prepared
from kit.evaluate.quick import require_quick
from kit.evaluate.request import Overrides, Places, Request
from kit.evaluate.run import Evaluation, run_prepared
from kit.result.predicate import CompileCache, Verdict
from kit.series.record import StopRule
from kit.series.run import SeriesRequest
from kit.values.profile import Profile
from kit.values.run_result import RunStatus


@click.command(name="eval")
@click.option(
    "--record",
    type=TASK_NAME,
    required=True,
    metavar="N",
    help="Task to run, named by its start record: 3, smoke-1.",
)
@click.option(
    "--submission",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory with the script and optionally run.toml (arguments).  [default: the record's script]",
)
@profile_option
@runtime_option(host=True)
@click.option(
    "--image",
    metavar="ERA|host",
    help="Image to run in (see `speedrun image list`).  [default: the record's era; smoke: cpu]",
)
@click.option(
    "--gpus",
    type=click.IntRange(min=0),
    metavar="N",
    help="Number of GPUs for a full run; only those in CUDA_VISIBLE_DEVICES if it is set.  [default: 8]",
)
@click.option(
    "--accept-world-size",
    is_flag=True,
    help="Allow a number of GPUs that changes the number of tokens in a step; never ranked.",
)
@python_option
@deadline_options
@click.option(
    "--audit",
    "audits",
    metavar="NAMES",
    help="Audits with extra runs, comma-separated: canary (text with a known lowest loss), held-out (other "
    "text), baseline (the start script), screen (a short canary), all.",
)
@click.option(
    "--audit-seed",
    metavar="TEXT",
    help="Seed for audit streams.  [default: random]",
)
@click.option(
    "--runs",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Number of runs; more than 1 make a series.",
)
@click.option(
    "--interleave",
    is_flag=True,
    help="Make a series that alternates start record, next record and submission.",
)
@click.option(
    "--stop-on-failure", is_flag=True, help="Stop a series at the first run that does not complete."
)
@click.option(
    "--quick",
    is_flag=True,
    help="Try the script for a few steps, without probe, audit and bundle: no result. Smoke profile only. "
    "Its log stays in the temporary directory for a day.",
)
@click.option(
    "--compile-cache",
    type=click.Choice([state.value for state in CompileCache]),
    default=CompileCache.COLD.value,
    show_default=True,
    help="warm: start with the compile cache that `speedrun cache make` made of the start record; "
    "never ranked.",
)
@click.option("--plan", "plan_only", is_flag=True, help="Print what would be done, then exit.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Directory for runs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a path.")
@click.option("-v", "--verbose", is_flag=True, help="List all audit checks, also those that passed.")
@store_option
@mirror_option
@keys_option
def command(**options: Any) -> int:
    """
    Run a submission in a container and sign the result.

    The container's image is pinned by digest. The run is timed from outside and audited. Prints the path of
    the signed result (the bundle).

    Exit 0: the target was reached. 1: it was not; the bundle says why. With --runs, all runs are reserved and
    signed before the first one starts; 0 then means that the mean loss is below the target with p < 0.01.

    With --quick, the script runs for a few steps in the same container; nothing is written into --out. Exit
    0: it ran and printed a step or a validation loss. 1: it did not.

    A DURATION is a number of seconds, or has units: 90s, 10m, 1h30m.

    \b
    Examples:
      speedrun eval --record 3 --profile smoke
      speedrun eval --record smoke-1 --profile smoke
      speedrun eval --record 3 --submission my-agent/ --json
      speedrun eval --record 3 --profile smoke --audit canary,held-out
      speedrun eval --record 3 --profile smoke --submission my-agent/ --quick
      speedrun eval --record 3 --plan
      speedrun eval --record 89 --compile-cache warm
      speedrun eval --record 3 --submission my-agent/ --runs 10 --interleave
    """
    require_run_platform("eval")
    several = options["runs"] > 1 or options["interleave"]
    if options["stop_on_failure"] and not several:
        raise UsageError("--stop-on-failure needs a series", "add --runs N, or omit --stop-on-failure")
    request = _request(options)
    if request.compile_cache is CompileCache.WARM and (several or options["quick"]):
        raise UsageError(
            "--compile-cache warm makes one run", "omit --runs, --interleave and --quick, or --compile-cache"
        )
    if options["quick"]:
        require_quick(request)
        if several or options["audits"]:
            raise UsageError(
                "--quick makes one run and no audit", "omit --runs, --interleave and --audit, or omit --quick"
            )
    places = places_of(options["store"], options["mirror"], options["keys"], options["out"])
    audits = select_audits((options["audits"] or "").replace(",", " ").split(), options["audit_seed"])
    plan = draft(request, places)
    if options["plan_only"]:
        _show_plan(plan, places, audits, options["as_json"])
        if several:
            note("this plan applies to each run of the submission in the series")
        return 0
    if plan.submission is not None and plan.submission.left_out:
        note(left_out_line(plan.submission.left_out))
    STDERR.start_clock()
    if options["quick"]:
        return run_quick(plan, places, options["as_json"])
    recover_runs(places.out, places.keys)
    recover_series(places.out, places.keys)
    if several:
        require_score()
        from kit.cli.series_live import run_series_live

        return run_series_live(request, _series_request(options), places, audits, options["as_json"])
    STDERR.stage("prepare data and image")
    with prepared(plan, places) as ready, cancellable() as cancelled:
        live.machine(ready.preflight)
        load = load_per_core()
        outcome = run_prepared(ready, places, live.listener(plan, cancelled), audits)
    _report(outcome, options["as_json"], options["verbose"], load)
    return _exit_code(outcome)


def _series_request(options: dict[str, Any]) -> SeriesRequest:
    rule = StopRule.FIRST_FAILURE if options["stop_on_failure"] else StopRule.ALL_RUNS
    return SeriesRequest(options["runs"], options["interleave"], rule)


def _request(options: dict[str, Any]) -> Request:
    selected = select_runtime(options["runtime"])
    return Request(
        record=options["record"],
        profile=Profile(options["profile"]),
        submission=options["submission"],
        runtime=selected.name,
        image=options["image"],
        gpus=options["gpus"],
        accept_world_size=options["accept_world_size"],
        overrides=Overrides(**{name: options[name] for name in Overrides.__slots__}),
        python=guest_python(options["python"]),
        compile_cache=CompileCache(options["compile_cache"]),
        engine=selected.engine,
    )


def _show_plan(plan: RunPlan, places: Places, audits: AuditSelection, as_json: bool) -> None:
    report = describe_plan(plan, places, audits.has(RerunAudit.HELD_OUT))
    if as_json:
        emit_json(report.document())
    else:
        say(*format_plan(report, sorted(audits.audits)))


def _report(outcome: Evaluation, as_json: bool, verbose: bool, load: float | None) -> None:
    STDERR.close()
    result_lines.close(outcome, verbose, load)
    if as_json:
        emit_json(result_lines.summary(outcome))
    else:
        say_path(result_lines.shown_path(outcome.bundle))


def _exit_code(outcome: Evaluation) -> int:
    if outcome.predicate.run.status is RunStatus.CANCELLED:
        return 130
    return 0 if outcome.predicate.score.verdict is Verdict.REACHED else 1

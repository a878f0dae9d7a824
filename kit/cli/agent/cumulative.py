"""`speedrun agent cumulative`: search task after task, each from the best script so far."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.cli.agent.options import machine_options, run_request, runs_option, search_options, stored_request
from kit.cli.extras import require_score
from kit.cli.options import TASK_NAME, keys_option, mirror_option, retime_option, store_option
from kit.cli.places import places as places_of
from kit.cli.platforms import require_run_platform
from kit.cli.runtime import runtime_option
from kit.cli.stderr import STDERR
from kit.cli.terminal import emit_json, note, say, say_path
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.core.text import counted, in_shell
from kit.evaluate.request import Places

if TYPE_CHECKING:
    from kit.agent.chain import Chain, ChainSpec
    from kit.agent.costs import MostSpent
    from kit.agent.cumulative import ChainRun
    from kit.agent.session import AgentRun


@click.command(name="cumulative")
@click.option("--from", "first", type=TASK_NAME, metavar="N", help="First task: 1, smoke-1.")
@click.option("--to", "last", type=TASK_NAME, metavar="N", help="Last task.  [default: the last of its set]")
@search_options
@retime_option(least=1, default=3)
@machine_options
@runtime_option()
@click.option(
    "--plan", "plan_only", is_flag=True, help="Print the most that each stage can spend, then exit."
)
@runs_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a path.")
@store_option
@mirror_option
@keys_option
def command(**options: Any) -> int:
    """
    Search task after task, each from the best script so far.

    The first stage starts with the first record's script. Each later stage starts with the fastest valid node
    of the stage before, also if that is slower than its own start; its time is the mean of a fresh series.
    Each stage is an `agent run` in stages/, with the whole of --budget and --nodes for itself.
    chain.json is signed after each stage, and names the digests of all winners' bundles.

    FSR is measured between the times of each task's own records; --start-time, the first script's time on
    this machine, scales them all. The run ends after the last task (complete), after a stage without a valid
    node (no_valid_node), or if no run of a winner's series reaches the target loss and passes its audits
    (not_reproduced).

    Prints the directory, whose name follows from all choices; the same command, or `agent resume`, goes on
    with a run that was interrupted.

    Exit 0: complete. 1: it ended before the last task. Others as `agent run`.

    \b
    Examples:
      speedrun agent cumulative --from smoke-1 --model scripted --nodes 3 --retime 1
      speedrun agent cumulative --from 1 --to 3 --model model.toml --hints 1,2,3 --plan
      speedrun agent cumulative --from 1 --to 3 --model model.toml --scaffold multi-aide --budget usd=50
    """
    require_run_platform("agent cumulative")
    require_score()
    from kit.agent.cumulative import chain_tasks, new_chain

    request = run_request(options, options["first"], "--from")
    last = options["last"]
    tasks = chain_tasks(facts_root(), str(options["first"]), None if last is None else str(last))
    places = places_of(options["store"], options["mirror"], options["keys"], options["out"])
    chain = new_chain(facts_root(), request, tasks, options["retime"], places, options["out"])
    if options["plan_only"]:
        _show_plan(chain, options["as_json"])
        return 0
    return _conduct(chain, options["as_json"])


def resume_chain(
    folder: Path, retime: int, runtime: str, python: Path | None, places: Places, as_json: bool
) -> int:
    """Go on with the cumulative run in a directory. Raises `UsageError` if `retime` is given."""
    from kit.agent.chain import read_chain_spec
    from kit.agent.cumulative import stored_chain

    if retime:
        raise UsageError("--retime is a choice of the cumulative run, made when it started", "omit --retime")
    request = stored_request(read_chain_spec(folder).first, runtime, python)
    return _conduct(stored_chain(facts_root(), folder, request, places), as_json)


def _conduct(run: ChainRun, as_json: bool) -> int:
    """Run a chain to its end, show it, and return the exit code: 0, 1 or 130."""
    from kit.cli.agent.conduct import go_on, tell
    from kit.result.keys import load_or_create

    def solve(stage: AgentRun, number: int) -> bool:
        note(f"stage {number} of {len(run.spec.tasks)}: task {stage.spec.task}")
        end, interrupted = go_on(stage, run.spec.retime)
        tell(stage, end)
        return not interrupted

    progress = run.run(solve, load_or_create(run.places.keys))
    STDERR.close()
    if as_json:
        emit_json({**chain_document(run.folder, progress.chain), "interrupted": progress.interrupted})
    else:
        note(*chain_lines(run.spec, progress.chain))
        say_path(run.folder)
    if progress.interrupted:
        note(f"interrupted; to go on: speedrun agent resume {in_shell(run.folder)}")
        return 130
    return 0 if progress.chain.end == "complete" else 1


def chain_document(folder: Path, chain: Chain) -> dict[str, Any]:
    """Return a chain as one JSON object."""
    from kit.agent.chain import Chain
    from kit.core.codec import encode

    return {"folder": str(folder), **encode(Chain, chain)}


def chain_lines(spec: ChainSpec, chain: Chain) -> list[str]:
    """Return a chain as lines: a stage each, then how it ended."""
    lines = [f"{'task':<8} {'start s':>9} {'best s':>9} {'sd s':>7} {'runs':>6} {'FSR':>6}  winner"]
    for stage in chain.stages:
        won = stage.winner
        cells = [f"{stage.task:<8}", f"{_seconds(stage.start_ms):>9}"]
        if won is None:
            lines.append(" ".join([*cells, "no node reached the target loss"]))
            continue
        slower = " (slower than its start)" if won.faster_than_start is False else ""
        cells += [
            f"{_seconds(won.retimed_ms):>9}",
            f"{_seconds(won.retimed_sd_ms):>7}",
            f"{won.reached}/{won.runs}".rjust(6),
            f"{'-' if won.fsr is None else format(won.fsr, '.2f'):>6}",
            f" node {won.node}{slower}",
        ]
        lines.append(" ".join(cells))
    left = len(spec.tasks) - len(chain.stages)
    more = f"; {counted(left, 'task')} left" if left else ""
    return [*lines, f"end: {chain.end or 'open'}{more}"]


def _seconds(ms: float | None) -> str:
    return "-" if ms is None else f"{ms / 1000:.2f}"


def _show_plan(run: ChainRun, as_json: bool) -> None:
    worst = run.worst_case()
    if as_json:
        stages = [{"task": t.task, **_amounts(w)} for t, w in zip(run.spec.tasks, worst, strict=True)]
        emit_json({"folder": str(run.folder), "retime": run.spec.retime, "stages": stages})
        return
    lines = [f"{'task':<8} {'nodes':>6} {'calls':>6} {'USD':>9} {'evaluations':>12} {'GPU-hours':>10}"]
    for task, most in zip(run.spec.tasks, worst, strict=True):
        usd = "unknown" if most.usd is None else f"{most.usd:,.2f}"
        runs, hours = most.evaluations + most.retime_runs, most.gpu_seconds + most.retime_gpu_seconds
        lines.append(
            f"{task.task:<8} {most.nodes:>6} {most.calls:>6} {usd:>9} {runs:>12} {hours / 3600:>10,.1f}"
        )
    say(
        *lines,
        "",
        "These are the most that each stage can use, with the re-timing of its winner and its audits.",
        f"directory  {run.folder}",
    )


def _amounts(most: MostSpent) -> dict[str, Any]:
    return {name: value for name, value in asdict(most).items() if name != "context"}

"""`speedrun agent run`: search for a faster script with a scaffold and a model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from kit.cli.agent.options import machine_options, run_request, runs_option, search_options
from kit.cli.extras import require_score
from kit.cli.options import DEADLINE, TASK_NAME, keys_option, mirror_option, retime_option, store_option
from kit.cli.places import places as places_of
from kit.cli.platforms import require_run_platform
from kit.cli.runtime import refuse_retiming, runtime_option
from kit.cli.terminal import note, say, warn
from kit.cli.times import OTHER_MACHINES
from kit.core.facts import facts_root
from kit.evaluate.request import Places


@click.command(name="run")
@click.option("--task", type=TASK_NAME, metavar="N", help="Task, named by its start record: 3, smoke-1.")
@search_options
@retime_option()
@machine_options
@click.option(
    "--target-time",
    "target_s",
    type=DEADLINE,
    metavar="DURATION",
    help="Training time of the target script on this machine.  [default: scaled from the record's]",
)
@runtime_option(host=True)
@click.option("--plan", "plan_only", is_flag=True, help="Print the most that the run can spend, then exit.")
@click.option(
    "--replay",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Repeat a recorded run offline instead, and compare every line of its journal.",
)
@runs_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a path.")
@store_option
@mirror_option
@keys_option
def command(**options: Any) -> int:
    """
    Search for a faster script with a scaffold and a model.

    Each node is one edit by the model and one signed evaluation. Everything is written to the run's directory
    before it counts, so an interrupted run can be resumed. Prints that directory, whose name follows from all
    choices; the same command goes on with a run that was interrupted.

    A node is improved if it reaches the target loss in less time than its parent. Times of the start and the
    target script are those of the records, which other machines measured: give those of this machine with
    --start-time and --target-time, or the search cannot tell a faster script from a faster machine.
    --controls measures the start script.

    The key of the endpoint is read from the environment variable that the profile names.

    With --runtime host, the model's scripts run as this user without isolation: only for a machine that is a
    container itself and can start no other.

    Exit 0: a node reached the target loss. 1: none did; both also if the budget stopped the run. 3: the
    endpoint is not reached, or refuses the key or the model. 5: the endpoint or the engine failed three nodes
    in a row. 130: interrupted. After 3, 5 and 130 the run is open, and the same command goes on with it.

    \b
    Examples:
      speedrun agent run --task smoke-1 --model scripted --nodes 5
      speedrun agent run --task 3 --scaffold aide --model model.toml --hints 1,3 --plan
      speedrun agent run --task 3 --model model.toml --budget usd=5,gpu-hours=20 --controls 1 --retime 10
      speedrun agent run --replay agent-runs/RUN
    """
    require_run_platform("agent run")
    require_score()
    from kit.agent.session import new_run
    from kit.cli.agent.conduct import conduct
    from kit.cli.agent.plan import show_plan

    if options["replay"] is not None:
        return _replay(options)
    refuse_retiming(options["runtime"], options["retime"])
    request = run_request(options, options["task"], "--task")
    run = new_run(facts_root(), request, _places(options), options["out"])
    if options["plan_only"]:
        show_plan(run, run.worst_case(options["retime"]), options["retime"], options["as_json"])
        return 0
    if run.spec.evaluation.start_ms is not None and options["start_s"] is None:
        warn(OTHER_MACHINES)
    return conduct(run, options["retime"], options["as_json"])


def _places(options: dict[str, Any]) -> Places:
    return places_of(options["store"], options["mirror"], options["keys"], options["out"])


def _replay(options: dict[str, Any]) -> int:
    from kit.agent.replayed import replay
    from kit.cli.agent.resume import open_run

    run = open_run(options["replay"], options["runtime"], options["python"], _places(options))
    with tempfile.TemporaryDirectory() as made:
        head = replay(run, Path(made) / "run")
    note(f"replayed {options['replay']}: every line of the journal is the same")
    say(head)
    return 0

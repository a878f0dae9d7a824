"""`speedrun session new`: begin a session."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.agent.budget import parse_budget
from kit.cli.extras import require_score
from kit.cli.hint_levels import hint_numbers
from kit.cli.options import (
    DEADLINE,
    TASK_NAME,
    deadline_options,
    image_option,
    keys_option,
    mirror_option,
    store_option,
    task_profile_option,
)
from kit.cli.places import places as places_of
from kit.cli.platforms import require_run_platform
from kit.cli.runtime import runtime_option, select_runtime
from kit.cli.session.parts import given_options
from kit.cli.terminal import emit_json, note, say_path, warn
from kit.cli.times import OTHER_MACHINES
from kit.core.text import in_shell
from kit.evaluate.request import HOST_IMAGE, Overrides, Places, Request
from kit.values.profile import Profile
from kit.values.task_id import is_smoke

if TYPE_CHECKING:
    from kit.agent.horizon import Horizon
    from kit.benchmark.records import Record


@click.command("new")
@click.option("--task", type=TASK_NAME, required=True, metavar="N", help="Start record: 3, 29, smoke-1.")
@click.option("--horizon", type=TASK_NAME, metavar="N", help="Later record to measure progress to.")
@click.option(
    "--budget",
    required=True,
    metavar="KEY=N,..",
    help="Limits: gpu-hours, wall, evaluations. For example gpu-hours=160,wall=24h.",
)
@click.option(
    "--hints",
    "levels",
    default="0",
    show_default=True,
    metavar="L[,L..]",
    help="Hint levels to show: 0 for none, or some of 1,2,3.",
)
@click.option("--agent", default="own-agent", show_default=True, help="Name and version of the agent.")
@task_profile_option
@click.option(
    "--start-time",
    "start_time_s",
    type=DEADLINE,
    metavar="DURATION",
    help="Training time of the start script on this machine.  [default: the record's]",
)
@click.option(
    "--target-time",
    "target_time_s",
    type=DEADLINE,
    metavar="DURATION",
    help="Training time of the horizon, or target, on this machine.  [default: scaled from the records]",
)
@runtime_option()
@image_option
@click.option("--gpus", type=click.IntRange(min=0), metavar="N", help="Number of GPUs.  [default: 8]")
@deadline_options
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Directory to create."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a path.")
@store_option
@mirror_option
@keys_option
def command(**options: Any) -> int:
    """
    Begin a session.

    Creates a directory with the start script as its workspace. The score of a time t is
    (t_start - t) / (t_start - t_target); with --horizon, that record takes the target's place. The records'
    times were measured on other machines: pass those of this machine with --start-time and --target-time.

    All scripts of a session run in one image. If start and horizon were written for different images, it is
    the horizon's, and the times of the records do not count: pass both times, or get the score from
    `session end --retime N --interleave`. A script that cannot start in the image is refused.

    Exit 0: done. 2: a wrong argument. 3: a script of start or horizon cannot start in the image.

    Wall time counts while a server or a command of the session runs.

    \b
    Examples:
      speedrun session new --task smoke-1 --budget wall=2h,evaluations=10 --out my-session
      speedrun session new --task 46 --horizon 62 --budget gpu-hours=160,wall=24h --out s46
    """
    require_run_platform("session new")
    require_score()
    from kit.agent.horizon import horizon_reference, load_horizon
    from kit.agent.own_task import task_for
    from kit.session.budget_text import no_evaluation
    from kit.session.opening import BUDGET_KEYS, SessionParts, new_session, session_spec
    from kit.session.trials import KitTrials

    budget = parse_budget(options["budget"], BUDGET_KEYS)
    places = places_of(options["store"], options["mirror"], options["keys"])
    request = _request(options)
    horizon: Horizon | None = None
    others: tuple[Record, ...] = ()
    if options["horizon"] is not None:
        horizon = load_horizon(places.records, str(options["task"]), str(options["horizon"]))
        request, others = in_one_image(request, horizon, places)
    task = task_for(
        request,
        places,
        hint_numbers(options["levels"]),
        lambda known: horizon_reference(
            horizon, known, _ms(options, "start"), _ms(options, "target"), one_image=not others
        ),
    )
    spec = session_spec(task, options["agent"], budget, horizon, request.overrides)
    new_session(options["out"], spec, SessionParts(task, KitTrials(request, places)))
    if (why := no_evaluation(spec)) is not None:
        warn(f"this budget holds no evaluation: {why}")
    has_times = spec.evaluation.start_ms is not None
    if has_times and options["start_time_s"] is None:
        warn(OTHER_MACHINES)
    if horizon is not None and others:
        warn_of_eras(spec.evaluation.image, horizon, others, has_times, options["out"])
    note(f"next: speedrun session serve {in_shell(options['out'])} --stdio{given_options()}")
    if options["as_json"]:
        emit_json({"folder": str(options["out"]), "task": spec.task, "start_ms": spec.evaluation.start_ms,
                   "target_ms": spec.evaluation.target_ms})  # fmt: skip
    else:
        say_path(options["out"])
    return 0


def in_one_image(request: Request, horizon: Horizon, places: Places) -> tuple[Request, tuple[Record, ...]]:
    """
    Return the request with the image of a session, and the ends that were written for another one.

    For ends of two images that is the horizon's, unless --image names one: a newer torch runs older scripts
    rather than the other way round, and the horizon is what the agent is measured against. Raises
    `PrerequisiteError` if the script of an end cannot start in it; a script that cannot be fetched is not
    read.
    """
    from kit.benchmark import records
    from kit.evaluate.image_fit import require_imports, written_for_others
    from kit.evaluate.plan import draft
    from kit.image.spec import read_spec

    if request.profile is not Profile.FULL:
        return request, ()
    ends = (horizon.steps[0].record, horizon.record)
    first, last = (records.load(places.records, name).era for name in ends)
    if request.image is None and first != last:
        request = replace(request, image=last)
    image = draft(request, places).era
    if image != HOST_IMAGE:
        read_spec(places.images, image)  # an unknown image is refused as such
    others = written_for_others(ends, image, places)
    for record in others:
        require_imports(record.name, image, places, "choose another image with --image")
    return request, others


def warn_of_eras(
    image: str, horizon: Horizon, others: Sequence[Record], has_times: bool, folder: Path
) -> None:
    """Say what a session compares whose ends were written for another image than its own."""
    for record in others:
        warn(
            f"record {record.name} was written for the image {record.era}; every script of this session runs "
            f"in {image}, where that one may take another time or fail"
        )
    if has_times:
        note(f"the score is between your times; measure both ends in {image}, on this machine")
        return
    note("the records' times are of other images: this session has no score before its end. For the score:")
    note(f"  speedrun session end {in_shell(folder)} --retime 5 --interleave{given_options()}")
    note("for one before, time both ends, and begin with --start-time and --target-time:")
    for name in (horizon.steps[0].record, horizon.record):
        note(f"  speedrun eval --record {name} --image {image} --runs 2")


def _ms(options: dict[str, Any], name: str) -> float | None:
    seconds = options[f"{name}_time_s"]
    return None if seconds is None else 1000 * seconds


def _request(options: dict[str, Any]) -> Request:
    selected = select_runtime(options["runtime"])
    python = shutil.which("python3")
    profile = options["profile"] or ("smoke" if is_smoke(str(options["task"])) else "full")
    return Request(
        record=options["task"],
        profile=Profile(profile),
        runtime=selected.name,
        image=options["image"],
        gpus=options["gpus"],
        overrides=Overrides(**{f"{n}_s": options[f"{n}_s"] for n in ("start", "warmup", "stall", "teardown",
                                                                     "total")}),
        python=Path(python) if python else None,
        engine=selected.engine,
    )  # fmt: skip

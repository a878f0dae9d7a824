"""`speedrun cache make`: make a compile cache from a record's own script, for warm runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from kit.cli import live
from kit.cli.cache.compiled import compile_cache_document, describe_compile_cache
from kit.cli.interrupt import cancellable
from kit.cli.options import (
    TASK_NAME,
    deadline_options,
    image_option,
    keys_option,
    mirror_option,
    profile_option,
    store_option,
)
from kit.cli.places import places as places_of
from kit.cli.platforms import require_run_platform
from kit.cli.runtime import runtime_option, select_runtime
from kit.cli.stderr import STDERR
from kit.cli.terminal import emit_json, note, say
from kit.core.errors import UsageError
from kit.evaluate.compile_cache_run import STEPS, make_cache
from kit.evaluate.plan import RunPlan, draft, require_compiling
from kit.evaluate.request import HOST_IMAGE, Overrides, Request
from kit.evaluate.run import Listener
from kit.values.profile import Profile


@click.command("make")
@click.option(
    "--record",
    type=TASK_NAME,
    required=True,
    metavar="N",
    help="Record whose own script is run: the start record of later warm runs.",
)
@profile_option
@click.option("--gpus", type=click.IntRange(min=1), metavar="N", help="Number of GPUs.  [default: 8]")
@image_option
@runtime_option()
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=STEPS,
    show_default=True,
    help="End the script at the first line of this step.",
)
@deadline_options
@store_option
@mirror_option
@keys_option
@click.option("--json", "as_json", is_flag=True, help="Print the cache as JSON instead of its digest.")
def command(**options: Any) -> int:
    """Make a compile cache from a record's own script.

    The script is fetched by sha256 and runs in its image, isolated as in an evaluation, until it has printed
    the first line of a step. Then all of its processes are killed, and the caches of Inductor and Triton are
    sealed in the store: a manifest names each file with its sha256. No submission can make or change a cache.
    The cache is for one image, script, GPU model and number of GPUs. Prints the digest of its manifest.

    If the store has the cache already, nothing runs. Runs that start with it are never ranked. The smoke
    profile compiles nothing, so it is refused.

    \b
    Examples:
      speedrun cache make --record 89 --gpus 2
      speedrun eval --record 89 --gpus 2 --accept-world-size --compile-cache warm
    """
    require_run_platform("cache make")
    places = places_of(options["store"], options["mirror"], options["keys"], Path("runs"))
    plan = draft(_request(options), places)
    require_compiling(plan.terms, "pass a numbered record and --profile full, on a machine with GPUs")
    STDERR.start_clock()
    STDERR.stage("prepare data and image")
    made = make_cache(plan, places, options["steps"], lambda: _listening(plan))
    STDERR.close()
    if made is None:
        note("interrupted: no compile cache was made")
        return 130
    cache, is_new = made
    note(f"{'made' if is_new else 'the store has it already'}: {describe_compile_cache(cache)}")
    if options["as_json"]:
        emit_json({**compile_cache_document(cache), "made": is_new})
    else:
        say(cache.digest)
    return 0


@contextlib.contextmanager
def _listening(plan: RunPlan) -> Iterator[Listener]:
    with cancellable() as cancelled:
        yield live.listener(plan, cancelled)


def _request(options: dict[str, Any]) -> Request:
    if options["image"] == HOST_IMAGE:
        raise UsageError(
            "a compile cache needs an image, and --image host has none", "omit --image, or pass an era"
        )
    selected = select_runtime(options["runtime"])
    return Request(
        record=options["record"],
        profile=Profile(options["profile"]),
        runtime=selected.name,
        image=options["image"],
        gpus=options["gpus"],
        accept_world_size=True,
        overrides=Overrides(**{name: options[name] for name in Overrides.__slots__}),
        engine=selected.engine,
    )

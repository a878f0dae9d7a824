"""`speedrun task export`: write the directory of a task for an agent."""

from __future__ import annotations

from pathlib import Path

import click

from kit.benchmark.hints import HintLevel
from kit.benchmark.records import fetch_script, sources
from kit.benchmark.tasks import export as write
from kit.benchmark.tasks import load_task
from kit.cli.hint_levels import hint_levels
from kit.cli.options import TASK_NAME, profile_option, store_option, upstream_option
from kit.cli.places import places
from kit.cli.terminal import Meter, say_path
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.evaluate.smoke_task import export_smoke_task
from kit.values.profile import Profile
from kit.values.task_id import is_smoke


@click.command("export")
@click.argument("name", type=TASK_NAME)
@click.option(
    "--hints",
    "levels",
    default="0",
    show_default=True,
    metavar="L[,L..]",
    help="Hint levels to include: 0 for none, or some of 1,2,3.",
)
@profile_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New directory.")
@upstream_option
@store_option
def command(
    name: int | str, levels: str, profile: str, out: Path, upstream: Path | None, store: Path
) -> None:
    """Write the directory of a task for an agent.

    It contains the start record's script, run.toml, TASK.md and the chosen hints. Apart from these hints,
    nothing in it comes from the target record. All files are writable.

    With --profile smoke, the script is the small trainer of the smoke profile: it runs on two CPU cores, has
    the same rules and prints the same lines, and is never ranked.

    \b
    Examples:
      speedrun task export 3 --profile smoke --out my-agent
      speedrun task export 11 --out task-11
      speedrun task export 4 --hints 1,2,3 --out task-04 --upstream ../modded-nanogpt/.git
    """
    root = facts_root()
    hints = hint_levels(levels)
    if Profile(profile) is Profile.SMOKE and not is_smoke(str(name)):
        if HintLevel.NONE not in hints:
            raise UsageError(
                "the hints are about record scripts, and the smoke profile has another script",
                "omit --hints, or use --profile full",
            )
        say_path(export_smoke_task(root, name, places(store, None, Path("keys")), out).folder)
        return
    start = load_task(root, name).start
    script = fetch_script(start, Store(store), sources(upstream), Meter())
    say_path(write(root, name, hints, script, out).folder)

"""`speedrun agent resume`: go on with a search that was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kit.agent.search import SPEC
from kit.agent.spec import read_spec
from kit.cli.agent.options import stored_request
from kit.cli.extras import require_score
from kit.cli.options import keys_option, mirror_option, python_option, retime_option, store_option
from kit.cli.places import places as places_of
from kit.cli.platforms import require_run_platform
from kit.cli.runtime import refuse_retiming, runtime_option
from kit.core.facts import facts_root
from kit.evaluate.request import Places
from kit.result.directory_kind import DirectoryKind, not_of_kind

if TYPE_CHECKING:
    from kit.agent.session import AgentRun


@click.command(name="resume")
@click.argument("folder", type=click.Path(path_type=Path))
@retime_option()
@runtime_option(help="Runtime of the run; pass podman if it was started with podman.")
@python_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a path.")
@store_option
@mirror_option
@keys_option
def command(
    folder: Path,
    retime: int,
    runtime: str,
    python: Path | None,
    as_json: bool,
    store: Path,
    mirror: Path | None,
    keys: Path,
) -> int:
    """
    Resume a search that was interrupted.

    FOLDER is the directory that `agent run` or `agent cumulative` printed. All choices are those of its spec.
    A call whose answer was recorded is not made again; a call or an evaluation that was cut off is counted at
    its worst case and repeated. A finished run is only shown; with --retime, its winner is timed again. The
    stages of a cumulative run are timed as its spec says.

    Exit codes are those of `agent run`.

    \b
    Examples:
      speedrun agent resume agent-runs/RUN
      speedrun agent resume agent-runs/RUN --retime 10
    """
    require_run_platform("agent resume")
    require_score()
    from kit.agent.chain import is_chain
    from kit.cli.agent.conduct import conduct

    places = places_of(store, mirror, keys)
    if is_chain(folder):
        from kit.cli.agent.cumulative import resume_chain

        return resume_chain(folder, retime, runtime, python, places, as_json)
    run = open_run(folder, runtime, python, places)
    refuse_retiming(run.spec.evaluation.runtime, retime)
    return conduct(run, retime, as_json)


def open_run(folder: Path, runtime: str, python: Path | None, places: Places) -> AgentRun:
    """Return the run in a directory; `runtime` and `python` are the values of `--runtime` and `--python`."""
    from kit.agent.session import stored_run

    if not (folder / SPEC).is_file():
        why, hint = f"{folder} contains no run", "pass the directory that `agent run` printed"
        raise not_of_kind(folder, DirectoryKind.AGENT_RUN, why, hint)
    request = stored_request(read_spec(folder / SPEC), runtime, python)
    return stored_run(facts_root(), folder, request, places)

"""`speedrun submit send`: prepare a run or a series as an entry."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from kit.cli.hint_levels import hint_numbers
from kit.cli.options import keys_option
from kit.cli.terminal import emit_json, note, say_path
from kit.core.errors import UsageError
from kit.core.text import counted, one_line
from kit.leaderboard.submit.entry import BoardEntry, place_of, write_submission
from kit.leaderboard.submit.hub import SCHEME, repository
from kit.leaderboard.submit.hub import open_pull_request as send_to_hub
from kit.leaderboard.submit.names import name_fault
from kit.leaderboard.submit.series import (
    is_series,
    place_of_series,
    refuse_run_of_series,
    refuse_session,
    verify_whole_series,
    write_series_submission,
)
from kit.result.keys import Trusted, trusted
from kit.result.verify import open_bundle


@click.command("send")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "target",
    required=True,
    metavar="DIR|hf://OWNER/NAME",
    help="Destination: a directory, or a dataset on the Hugging Face Hub.",
)
@click.option("--agent", required=True, metavar="NAME", help="Name of the agent, of a-z, 0-9 and -.")
@click.option("--model", metavar="NAME", help="Language model of the agent.")
@click.option(
    "--hints",
    "levels",
    default="0",
    show_default=True,
    metavar="L[,L..]",
    help="Hint levels that the agent was given: 0 for none, or some of 1,2,3.",
)
@click.option("--note", help="Comment for readers, on one line.")
@click.option("--capsule", metavar="URL", help="URL of the run's capsule.")
@click.option("--endpoint", metavar="URL", help="URL of a server with the API of the Hugging Face Hub.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@keys_option
def command(
    run: Path, target: str, keys: Path, endpoint: str | None, levels: str, as_json: bool, **about: Any
) -> None:
    """Prepare a run or a series as an entry.

    Writes files to a directory, or opens a pull request to a dataset on the Hub. RUN is the directory of a
    run or of a series. A series is submitted with all its runs. Of an unfinished series, only the plan is
    submitted, which shows the reserved runs.

    The bundle and the files beside it are verified first. A run that cannot be ranked is submitted, too: the
    receiver's check decides, with the keys trusted there.

    \b
    Examples:
      speedrun submit send runs/<run_id> --agent my-agent --to ../leaderboard
      speedrun submit runs/<series_id> --agent my-agent --to ../leaderboard
      speedrun submit runs/<run_id> --agent my-agent --hints 1 --to hf://owner/leaderboard
    """
    about["hints"] = hint_numbers(levels)
    if about["model"] is not None and (fault := name_fault(about["model"])):
        raise UsageError(f"--model: {fault}")
    entry = BoardEntry(**about)
    repo = repository(target) if target.startswith(SCHEME) else None
    prepared = _prepare(run, entry, trusted(keys))
    if repo is None:
        files = prepared.write_submission(Path(target))
        address = str(Path(target) / prepared.place)
    else:
        with tempfile.TemporaryDirectory(prefix="speedrun-submit-") as folder:
            files = prepared.write_submission(Path(folder))
            address = send_to_hub(repo, Path(folder), files, prepared.title, endpoint, None)
    if as_json:
        emit_json({"address": address, "files": list(files), "id": prepared.id})
    else:
        say_path(address)


@dataclass(frozen=True, slots=True)
class PreparedSubmission:
    """An entry that is ready to be written."""

    id: str
    place: str
    title: str
    write_submission: Callable[[Path], tuple[str, ...]]


def _prepare(where: Path, entry: BoardEntry, trusted: Trusted) -> PreparedSubmission:
    """Verify a run or a series, and warn if it cannot be ranked."""
    if is_series(Path(os.path.realpath(where)).name):
        documents, runs = verify_whole_series(where, trusted)
        plan = documents.plan
        for why in dict.fromkeys(w for run in runs for w in run.predicate.score.unranked_because):
            note(f"warning: not every run can be ranked: {one_line(why)}")
        if documents.ended is None:
            slots = counted(len(plan.slots), "run")
            note(f"warning: unfinished series: its plan of {slots} is submitted, its runs are not")
        return PreparedSubmission(
            plan.id, place_of_series(documents, entry.agent),
            f"Add {plan.id}: {len(runs)} of {len(plan.slots)} runs, task {plan.name} by {entry.agent}",
            lambda root: write_series_submission(where, documents, runs, entry, root),
        )  # fmt: skip
    refuse_session(where)
    bundle = open_bundle(where, trusted)
    refuse_run_of_series(bundle)
    p = bundle.predicate
    if not p.score.ranked:
        note(f"warning: the run cannot be ranked: {'; '.join(map(one_line, p.score.unranked_because))}")
    return PreparedSubmission(
        p.run.id, place_of(bundle, entry.agent), f"Add {p.run.id}: task {p.task.id} by {entry.agent}",
        lambda root: write_submission(bundle, entry, root),
    )  # fmt: skip

"""`speedrun submit send`: lay a run or a series out as a submission. Ranks nobody."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from kit.cli.options import keys_option
from kit.cli.terminal import emit_json, note, say_path
from kit.core.errors import UsageError
from kit.core.text import one_line
from kit.leaderboard.submit.entry import BoardEntry, place_of, write_submission
from kit.leaderboard.submit.hub import SCHEME, repository
from kit.leaderboard.submit.hub import open_pull_request as send_to_hub
from kit.leaderboard.submit.names import name_fault
from kit.leaderboard.submit.series import (
    is_series,
    place_of_series,
    refuse_run_of_series,
    verify_whole_series,
    write_series_submission,
)
from kit.result.keys import Trusted, trusted
from kit.result.verify import open_bundle


@click.command("send")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, metavar="DIR|hf://OWNER/NAME", help="Where it goes.")
@click.option("--agent", required=True, metavar="NAME", help="Of a-z, 0-9 and -.")
@click.option("--model", metavar="NAME", help="The language model behind the agent.")
@click.option(
    "--hint", "hints", type=click.IntRange(1, 3), multiple=True, help="A level that it was given; repeat."
)
@click.option("--note", help="One line for readers.")
@click.option("--capsule", metavar="URL", help="Where the run's capsule can be had.")
@click.option("--endpoint", metavar="URL", help="Another Hub than the configured one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@keys_option
def command(run: Path, target: str, keys: Path, endpoint: str | None, as_json: bool, **about: Any) -> None:
    """Lay a run or a series out as a submission: in a folder, or as a pull request to a dataset of the Hub.

    RUN is a run's folder, or a series': then all its runs go with it, for a series is submitted whole. Of a
    series that goes on, its plan is sent, which tells everybody what was reserved.

    It is verified first, with the files beside it. A run that cannot be ranked is sent all the same: what
    counts is what the receiver's check says, with the keys that he trusts.

    \b
    Examples:
      speedrun submit send runs/<run_id> --agent my-agent --to ../leaderboard
      speedrun submit runs/<series_id> --agent my-agent --to ../leaderboard
      speedrun submit runs/<run_id> --agent my-agent --hint 1 --to hf://owner/leaderboard
    """
    about["hints"] = tuple(sorted(set(about["hints"])))
    if about["model"] is not None and (fault := name_fault(about["model"])):
        raise UsageError(f"--model: {fault}")
    entry = BoardEntry(**about)
    repo = repository(target) if target.startswith(SCHEME) else None
    parcel = _parcel(run, entry, trusted(keys))
    if repo is None:
        files = parcel.lay_out(Path(target))
        address = str(Path(target) / parcel.place)
    else:
        with tempfile.TemporaryDirectory(prefix="speedrun-submit-") as folder:
            files = parcel.lay_out(Path(folder))
            address = send_to_hub(repo, Path(folder), files, parcel.title, endpoint, None)
    if as_json:
        emit_json({"address": address, "files": list(files), "id": parcel.id})
    else:
        say_path(address)


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes into the repository."""

    id: str
    place: str
    title: str
    lay_out: Callable[[Path], tuple[str, ...]]


def _parcel(where: Path, entry: BoardEntry, trusted: Trusted) -> Parcel:
    """Verify a run or a series, and tell what keeps it from a rank."""
    if is_series(where.resolve().name):
        documents, runs = verify_whole_series(where, trusted)
        plan = documents.plan
        for why in dict.fromkeys(w for run in runs for w in run.predicate.score.unranked_because):
            note(f"not every run can be ranked: {one_line(why)}")
        if documents.ended is None:
            note(f"the series goes on: its plan of {len(plan.slots)} runs is submitted, its runs are not")
        return Parcel(
            plan.id, place_of_series(documents, entry.agent),
            f"Add {plan.id}: {len(runs)} of {len(plan.slots)} runs, task {plan.record} by {entry.agent}",
            lambda root: write_series_submission(where, documents, runs, entry, root),
        )  # fmt: skip
    bundle = open_bundle(where, trusted)
    refuse_run_of_series(bundle)
    p = bundle.predicate
    if not p.score.ranked:
        note(f"it cannot be ranked: {'; '.join(map(one_line, p.score.unranked_because))}")
    return Parcel(
        p.run.id, place_of(bundle, entry.agent), f"Add {p.run.id}: task {p.task.id} by {entry.agent}",
        lambda root: write_submission(bundle, entry, root),
    )  # fmt: skip

"""`speedrun submit`: a result into a shared repository, and the check that waits there. Ranks nobody."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.cli.options import keys_option

if TYPE_CHECKING:
    from kit.leaderboard.submit.entry import BoardEntry
    from kit.result.keys import Trusted


class WithDefault(click.Group):
    """A group whose first word may be left out: `submit RUN` is `submit send RUN`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `send` in front of what names no command."""
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["send", *args]
        return super().parse_args(ctx, args)


@click.group(cls=WithDefault)
def command() -> None:
    """Submit results, and check submissions.

    \b
    Examples:
      speedrun submit runs/<run_id> --agent my-agent --to ../leaderboard
      speedrun submit runs/<run_id> --agent my-agent --to hf://owner/leaderboard
      speedrun submit check ../leaderboard
    """


@command.command("send")
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
def send(run: Path, target: str, keys: Path, endpoint: str | None, as_json: bool, **said: Any) -> None:
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
    from kit.cli.terminal import emit_json
    from kit.leaderboard.submit.entry import BoardEntry
    from kit.leaderboard.submit.hub import SCHEME, repository
    from kit.leaderboard.submit.hub import send as send_to_hub
    from kit.result.keys import trusted

    said["hints"] = tuple(sorted(set(said["hints"])))
    entry = BoardEntry(**said)
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
        click.echo(address)


@dataclass(frozen=True, slots=True)
class SubmissionParcel:
    """What goes into the repository."""

    id: str
    place: str
    title: str
    lay_out: Callable[[Path], tuple[str, ...]]


def _parcel(where: Path, entry: BoardEntry, trusted: Trusted) -> SubmissionParcel:
    """Verify a run or a series, and tell what keeps it from a rank."""
    from kit.cli.terminal import note
    from kit.leaderboard.submit.entry import lay_out, place_of
    from kit.leaderboard.submit.series import (
        is_series,
        lay_out_series,
        place_of_series,
        require_alone,
        whole_series,
    )
    from kit.result.verify import open_bundle

    if is_series(where.resolve().name):
        papers, runs = whole_series(where, trusted)
        plan = papers.plan
        for why in dict.fromkeys(w for run in runs for w in run.predicate.score.unranked_because):
            note(f"not every run can be ranked: {why}")
        if papers.ended is None:
            note(f"the series goes on: its plan of {len(plan.slots)} runs is submitted, its runs are not")
        return SubmissionParcel(
            plan.id, place_of_series(papers, entry.agent),
            f"Add {plan.id}: {len(runs)} of {len(plan.slots)} runs, task {plan.record} by {entry.agent}",
            lambda root: lay_out_series(where, papers, runs, entry, root),
        )  # fmt: skip
    found = open_bundle(where, trusted)
    require_alone(found)
    p = found.predicate
    if not p.score.ranked:
        note(f"it cannot be ranked: {'; '.join(p.score.unranked_because)}")
    return SubmissionParcel(
        p.run.id, place_of(found, entry.agent), f"Add {p.run.id}: task {p.task.record} by {entry.agent}",
        lambda root: lay_out(found, entry, root),
    )  # fmt: skip


@command.command("check")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="All findings as one JSON object on stdout.")
@keys_option
def check(folder: Path, as_json: bool, keys: Path) -> int:
    """Check every submission below FOLDER/submissions, all findings at once; offline.

    Exit 0: nothing found. 1: well-formed, but not acceptable: an untrusted key, a smoke or host run, a
    duplicate, a replay, a part of a series. 3: a file is missing. 4: files that are not what was signed, or
    have no place there. The highest counts. A run that missed its target is acceptable: every run counts.

    \b
    Examples:
      speedrun submit check ../leaderboard
      speedrun submit check ../leaderboard --json
    """
    from kit.cli.terminal import Meter, emit_json, note, printable
    from kit.leaderboard.submit.check import check, summary
    from kit.result.keys import trusted

    meter = Meter(spell=str)
    checked = check(folder, trusted(keys), lambda done, total: meter("submissions", done, total))
    if as_json:
        findings = [{"where": f.where, "rule": f.rule, "message": f.message} for f in checked.findings]
        accepted = [found.where.relative_to(folder).as_posix() for found in checked.accepted]
        series = [one.where.relative_to(folder).as_posix() for one in checked.series]
        emit_json({"accepted": accepted, "series": series, "findings": findings, "exit": checked.exit_code})
    else:
        for f in checked.findings:
            click.echo(printable(f"{f.where}: {f.rule}: {f.message}"))
        counts = ", ".join(f"{n} {rule}" for rule, n in summary(checked).items()) or "no finding"
        whole = f", {len(checked.series)} series" if checked.series else ""
        note(f"{len(checked.accepted)} results{whole} accepted; {counts}")
    return checked.exit_code

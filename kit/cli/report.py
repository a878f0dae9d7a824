"""`speedrun report`: build a static page from a repository of entries."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.benchmark.tasks import TaskSet, load_tasks
from kit.cli.data_lock_text import tell_data_locks
from kit.cli.extras import require_score
from kit.cli.options import (
    TASK_SETS,
    board_base_option,
    data_lock_option,
    keys_option,
    store_option,
    upstream_option,
)
from kit.cli.terminal import Meter, emit_json, note, say_path, warn
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.core.text import counted
from kit.leaderboard.submit.check import CheckedBoard, check
from kit.leaderboard.submit.data_locks import read_locks
from kit.result.keys import Trusted, trusted

if TYPE_CHECKING:
    from kit.leaderboard.page.agent_runs import AgentRuns
    from kit.leaderboard.page.rank import Board


@click.command(name="report")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    "site",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("site"),
    show_default=True,
    help="Directory to write.",
)
@click.option(
    "--space", is_flag=True, help="Also write the README.md of a static Space of the Hugging Face Hub."
)
@click.option("--title", default="NanoGPT speedrun tasks", show_default=True, help="Title of the page.")
@click.option(
    "--agents",
    type=click.Path(file_okay=False, path_type=Path),
    multiple=True,
    help="Directory of an agent's run, or of several; they are verified and shown. Repeatable.",
)
@click.option(
    "--judgements",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Directory of signed judgements, whose D and L are shown beside the FSR of agents. Repeatable.",
)
@click.option(
    "--distance",
    is_flag=True,
    help="Compare each agent's winner with its task's target; fetches scripts that the store lacks.",
)
@click.option(
    "--set",
    "chosen",
    type=TASK_SETS,
    default="paper",
    show_default=True,
    help="Tasks of the overall figures; runs of other tasks keep their own rows.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the page's path.")
@board_base_option
@data_lock_option
@keys_option
@store_option
@upstream_option
def command(
    folder: Path,
    site: Path,
    space: bool,
    title: str,
    agents: tuple[Path, ...],
    judgements: tuple[Path, ...],
    distance: bool,
    chosen: str,
    as_json: bool,
    base: Path | None,
    data_locks: tuple[Path, ...],
    keys: Path,
    store: Path,
    upstream: Path | None,
) -> None:
    """Build a leaderboard page from entries.

    Checks every entry below FOLDER/submissions and writes SITE/index.html, offline. The page loads
    nothing from elsewhere and works without JavaScript, which only adds sorting and filters. Beside it,
    results.json and results.csv have every run. Entries that were not accepted are listed with the reasons;
    retracted ones are marked. Data are compared with data locks, and entries with those of --base, as in
    `submit check`. With --agents the page also shows the runs of `agent run`: the best FSR so far by node,
    GPU-hour, dollar and token, and how each node ended.

    With --space the directory is also a static Space of the Hugging Face Hub: upload it with
    `hf upload --repo-type space OWNER/NAME site .`. A README.md that another program wrote, or that was
    edited, is not replaced: exit 2.

    With --judgements the page shows D and L of `speedrun judge` for each winner, and draws FSR against them.
    An L that is marked `unreliable` is counted, but not drawn. A judgement by another version of the task's
    rubric is left out. With --distance it also draws FSR against the distance of `speedrun distance`. (These
    are the paper's figures 6, 7, C.1 and C.2.) None of them changes a score, a tier or a rank.

    \b
    Examples:
      speedrun report ../leaderboard --out site
      speedrun report ../leaderboard --keys keys/ --json
      speedrun report ../leaderboard --out site --space
      speedrun report ../leaderboard --agents agent-runs
      speedrun report ../leaderboard --agents agent-runs --judgements judgements --distance
    """
    require_score()
    if (judgements or distance) and not agents:
        raise UsageError("--judgements and --distance need --agents", "pass --agents DIRECTORY")
    from kit.leaderboard.page.agent_runs import read_agent_runs
    from kit.leaderboard.page.rank import rank
    from kit.leaderboard.page.site import write_site
    from kit.leaderboard.page.space import require_own_card

    if space:
        require_own_card(site)
    meter = Meter(count=True)
    locks = read_locks(data_locks)
    checked = check(folder, trusted(keys), lambda done, total: meter("entries", done, total), locks, base)
    tasks = load_tasks(facts_root(), TaskSet(chosen))
    board = rank(checked, facts_root(), tasks)
    searched = read_agent_runs(agents, trusted(keys)) if agents else None
    if searched is not None and (judgements or distance):
        searched = _with_winners(searched, judgements, trusted(keys), store if distance else None, upstream)
    page = write_site(board, site, title, len(tasks), searched, space=space)
    note(
        f"{counted(len(checked.accepted), 'result')} in {counted(len(board.groups), 'row')}, "
        f"{len(board.refused)} not accepted"
    )
    if searched is not None:
        runs = sum(len(group.runs) for group in searched.groups)
        note(f"{counted(runs, 'run of an agent', 'runs of agents')}, {len(searched.refused)} not accepted")
    tell_data_locks(checked.locks, checked.with_shards)
    if as_json:
        emit_json(_document(page, board, searched, checked))
    else:
        say_path(page)


def _with_winners(
    runs: AgentRuns, judgements: tuple[Path, ...], keys: Trusted, store: Path | None, upstream: Path | None
) -> AgentRuns:
    """Return the runs with their judged winners; `store` is None if no distance is measured."""
    from kit.judge.rubric import load_rubric
    from kit.judge.scripts import task_pairs
    from kit.leaderboard.page.judged import read_judgements, with_winners

    known, refused = read_judgements(judgements, keys, lambda task: load_rubric(facts_root(), task).sha256)
    if store is None:
        return with_winners(runs, known, refused, lambda task: None)
    return with_winners(runs, known, refused, task_pairs(facts_root(), store, upstream, warn))


def _document(page: Path, board: Board, searched: AgentRuns | None, checked: CheckedBoard) -> dict[str, Any]:
    """Return what was built as one JSON object."""
    rows = [
        {
            "task": g.task,
            "config": g.config,
            "tier": g.tier,
            "runs": [r.run_id for r in g.results],
            "fsr": g.score.mean if g.score else None,
            "reached": g.score.reached if g.score else None,
        }
        for g in board.groups
    ]
    return {
        "page": str(page),
        "rows": rows,
        "not_accepted": len(board.refused),
        "smoke": len(board.smoke),
        "agent_runs": sum(len(group.runs) for group in searched.groups) if searched else 0,
        "agent_runs_not_accepted": len(searched.refused) if searched else 0,
        "judged_winners": [asdict(winner) for winner in searched.winners] if searched else [],
        "data_locks": [lock.sha256 for lock in checked.locks],
        "data_not_compared": 0 if checked.locks else checked.with_shards,
    }

"""`speedrun report`: a repository of submissions as one static page. Accepts and signs nothing."""

from __future__ import annotations

from pathlib import Path

import click

from kit.benchmark.tasks import load_tasks
from kit.cli.extras import require_score
from kit.cli.options import keys_option
from kit.cli.terminal import Meter, emit_json, note, say_path
from kit.core.facts import facts_root
from kit.leaderboard.submit.check import check
from kit.result.keys import trusted


@click.command(name="report")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", "site", type=click.Path(file_okay=False, path_type=Path), default=Path("site"), show_default=True
)
@click.option("--title", default="NanoGPT speedrun tasks", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the page's path.")
@keys_option
def command(folder: Path, site: Path, title: str, as_json: bool, keys: Path) -> None:
    """Check every submission below FOLDER/submissions and write SITE/index.html; offline.

    The page is self-contained: it loads nothing, works without a script, and sorts and filters with one.
    What was not accepted is listed with its reasons, what was retracted stays as retracted.

    \b
    Examples:
      speedrun report ../leaderboard --out site
      speedrun report ../leaderboard --keys keys/ --json
    """
    require_score()
    from kit.leaderboard.page.rank import rank
    from kit.leaderboard.page.site import write_site

    meter = Meter(count=True)
    checked = check(folder, trusted(keys), lambda done, total: meter("submissions", done, total))
    tasks = load_tasks(facts_root())
    board = rank(checked, facts_root(), tasks)
    page = write_site(board, site, title, len(tasks))
    note(f"{len(checked.accepted)} results in {len(board.groups)} rows, {len(board.refused)} not accepted")
    if as_json:
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
        emit_json({"page": str(page), "rows": rows, "not_accepted": len(board.refused)})
    else:
        say_path(page)

"""`speedrun series`: verify a series of runs and show its statistics."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.data_lock_text import tell_data_locks
from kit.cli.extras import require_score
from kit.cli.options import data_lock_option, keys_option
from kit.cli.terminal import fail, note
from kit.cli.untrusted import distrust
from kit.core.facts import facts_root
from kit.leaderboard.submit.data_locks import is_compared, lock_fault, read_locks
from kit.result.keys import trusted


@click.command(name="series")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@data_lock_option
@keys_option
def command(folder: Path, as_json: bool, data_locks: tuple[Path, ...], keys: Path) -> int:
    """Verify a series of runs and show its statistics.

    FOLDER is <out>/<series_id>; the directories of the runs are in <out>, too. The plan, the record and every
    run's bundle are verified, and each run must be one that was reserved before the first run started. All
    statistics are computed again.

    With --data-lock, the shards of every full run are compared with the lock that a board accepts.

    Exit 0: the mean loss is below the target with p < 0.01. 1: it is not, the key is untrusted, or the data
    are not those of the lock. 4: verification failed.

    \b
    Examples:
      speedrun series runs/s03-20261123T170000Z-1a2b3c4d
      speedrun series runs/s03-20261123T170000Z-1a2b3c4d --data-lock fineweb10B.lock.json
    """
    require_score()
    from kit.cli.series_text import show_series, shown_below
    from kit.series.figures import open_series

    locks = read_locks(data_locks)
    figures = open_series(folder, trusted(keys), facts_root() / "records")
    show_series(figures, as_json)
    if not figures.trusted:
        note("warning: the series is signed by an untrusted key")
        distrust(folder)
    predicates = [m.bundle.predicate for m in figures.members if m.bundle is not None]
    faults = {p.run.id: why for p in predicates if (why := lock_fault(p, locks))}
    for run_id, why in faults.items():
        fail(f"{run_id}: {why}")
    tell_data_locks(locks, sum(map(is_compared, predicates)))
    if faults:
        return 1
    return 0 if figures.trusted and shown_below(figures) else 1

"""`speedrun sweep collect`: write the results of all cells as a table and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kit.agent.recorded import RecordedRun
from kit.cli.extras import require_score
from kit.cli.options import keys_option, store_option, upstream_option
from kit.cli.sweep.opened import current_states
from kit.cli.sweep.plan import describe
from kit.cli.terminal import Meter, emit_json, fail, note, say_path, table, warn
from kit.core.errors import KitError
from kit.core.facts import facts_root
from kit.core.files import write_atomic
from kit.result.keys import trusted
from kit.sweep.cell_folder import CellState
from kit.sweep.folder import SweepFolder, open_sweep
from kit.sweep.results import CellRow, csv_of, ended_run, rows_of

if TYPE_CHECKING:
    from kit.sweep.tables import SweepScore

HEADS = ("model", "scaffold", "hints", "cells", "ended", "reached", "mean FSR", "IQM of FSR")
SHOWN = 20
"""Missing cells that are listed."""


@click.command(name="collect")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write.  [default: results in the sweep's directory]",
)
@click.option("--verify", is_flag=True, help="Verify every run as `agent verify` does; about a second a run.")
@click.option(
    "--distance",
    is_flag=True,
    help="Compare each winner with its task's target; fetches scripts that the store lacks.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a path.")
@keys_option
@store_option
@upstream_option
def command(
    folder: Path,
    to: Path | None,
    verify: bool,
    distance: bool,
    as_json: bool,
    keys: Path,
    store: Path,
    upstream: Path | None,
) -> int:
    """
    Write the results of all cells as a table and figures.

    Writes cells.csv, a row for each expected cell; fsr.csv and fsr-*.svg, mean and IQM of FSR by scaffold and
    hints with 95 % bootstrap intervals over seeds; statuses-*.svg, how nodes ended step by step; and
    score.csv, which `speedrun score` reads, also with --paper-rules. Every expected cell counts: one that has
    not ended has FSR 0.

    With --distance also distance.csv and distance-*.svg: FSR against the distance recovered in tokens, as
    `speedrun distance` defines it, with the squared correlation for each set of hints.

    Exit 0: all cells have ended. 1: some have not, or a run is not the one of its cell that ended, or failed
    verification.

    \b
    Examples:
      speedrun sweep collect sweeps/NAME
      speedrun sweep collect sweeps/NAME --distance
      speedrun report ../leaderboard --agents sweeps/NAME
    """
    require_score()
    from kit.sweep.tables import fsr_csv, score_csv, scores_of

    sweep = open_sweep(folder)
    rows = rows_of(sweep, current_states(sweep))
    target = to or folder / "results"
    scores = scores_of(rows)
    files = {"cells.csv": csv_of(rows), "fsr.csv": fsr_csv(scores), "score.csv": score_csv(rows)}
    ended, faults = _runs(sweep, rows)
    runs = [run for _, run in ended]
    files.update(_figures(runs, scores))
    if distance:
        files.update(_distances(ended, faults, store, upstream))
    for name, text in files.items():
        write_atomic(target / name, text.encode())
    if verify:
        faults += _verify(runs, keys)
    for fault in faults:
        fail(fault)
    missing = [row for row in rows if row.state is not CellState.ENDED]
    if as_json:
        emit_json(
            {
                "directory": str(target),
                "expected": len(rows),
                "ended": len(rows) - len(missing),
                "missing": [row.cell.id for row in missing],
                "faults": faults,
                "scores": [score.values() for score in scores],
            }
        )
    else:
        _print(scores, missing, target)
    return 1 if missing or faults else 0


def _print(scores: Sequence[SweepScore], missing: Sequence[CellRow], target: Path) -> None:
    note(*table(HEADS, [_cells(score) for score in scores]))
    for row in missing[:SHOWN]:
        warn(f"{row.state}, counts as FSR 0: {describe(row.cell)}")
    if len(missing) > SHOWN:
        warn(f"{len(missing) - SHOWN} more cells have not ended: see {target / 'cells.csv'}")
    say_path(target)


def _cells(score: SweepScore) -> tuple[str, ...]:
    counts = (str(score.cells), str(score.ended), str(score.reached))
    figures = (f"{i.value:.2f} ({i.low:.2f} to {i.high:.2f})" for i in (score.mean, score.iqm))
    return score.model, score.scaffold, score.hints, *counts, *figures


def _runs(sweep: SweepFolder, rows: Sequence[CellRow]) -> tuple[list[tuple[CellRow, RecordedRun]], list[str]]:
    """Return the runs of cells that have ended, and what is wrong with those that are not returned."""
    ended, faults = [], []
    for row in rows:
        if row.end is None:
            continue
        try:
            ended.append((row, ended_run(sweep.folder(row.cell), row)))
        except KitError as e:
            faults.append(f"cell {row.cell.id}: {e.headline}")
    return ended, faults


def _distances(
    ended: Sequence[tuple[CellRow, RecordedRun]], faults: list[str], store: Path, upstream: Path | None
) -> dict[str, str]:
    """Return the table and the figures of the winners' distances; what cannot be measured becomes a fault."""
    from kit.judge.scripts import task_pairs
    from kit.sweep.distances import WinnerDistance, distance_csv, distance_figures, winner_distances

    pair_of = task_pairs(facts_root(), store, upstream, faults.append)
    meter = Meter(count=True)
    found: list[WinnerDistance] = []
    for number, one in enumerate(ended, 1):
        meter("distances", number, len(ended))
        try:
            found += winner_distances([one], pair_of)
        except KitError as e:
            faults.append(f"cell {one[0].cell.id}: {e.headline}")
    return {"distance.csv": distance_csv(found), **dict(distance_figures(found))}


def _figures(runs: Sequence[RecordedRun], scores: Sequence[SweepScore]) -> dict[str, str]:
    from kit.sweep.figures import fsr_figure, status_figures

    files = {}
    for number, model in enumerate(dict.fromkeys(score.model for score in scores), 1):
        for name, iqm in (("mean", False), ("iqm", True)):
            drawn = fsr_figure(scores, model, iqm)
            if drawn is not None:
                files[f"fsr-{name}-{number}.svg"] = drawn
    return {**files, **dict(status_figures(runs))}


def _verify(runs: Sequence[RecordedRun], keys: Path) -> list[str]:
    """Verify the runs of cells that have ended; return their faults."""
    from kit.agent.verify import verify_run

    meter, known, faults = Meter(count=True), trusted(keys), []
    for number, run in enumerate(runs, 1):
        meter("runs", number, len(runs))
        try:
            check = verify_run(run.folder, known)
            found = check.faults or (() if check.trusted else ("the summary's key is not trusted",))
        except KitError as e:
            found = (e.headline,)
        faults += [f"cell {run.folder.parent.parent.name}: {text}" for text in found]
    return faults

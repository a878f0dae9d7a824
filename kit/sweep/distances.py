"""
FSR against distance: how near the winner of each cell is to its task's target (`winner_distances`).

The distance recovered is that of `speedrun distance`, in tokens; the paper has one of embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from kit.agent.recorded import RecordedRun
from kit.core.table import csv_text
from kit.judge.distance import TokenDistance
from kit.judge.scripts import TaskPair
from kit.leaderboard.page.judged import WinnerPoint, fsr_figure, winner_distance
from kit.leaderboard.page.svg import render_svg
from kit.sweep.results import CELL_COLUMNS, CellRow, cell_values

COLUMNS = (*CELL_COLUMNS, "node", "fsr", "recovered", "to_target", "to_start", "start_to_target")


@dataclass(frozen=True, slots=True)
class WinnerDistance:
    """The winner of one cell."""

    row: CellRow
    node: int
    distance: TokenDistance

    def values(self) -> dict[str, object]:
        """Return the row of a table as a flat object with `COLUMNS`."""
        distance = self.distance
        return {
            **cell_values(self.row.cell),
            "node": self.node,
            "fsr": self.row.fsr,
            "recovered": distance.recovered,
            "to_target": distance.to_target,
            "to_start": distance.to_start,
            "start_to_target": distance.start_to_target,
        }


def winner_distances(
    ended: Iterable[tuple[CellRow, RecordedRun]], pair_of: Callable[[str], TaskPair | None]
) -> Iterator[WinnerDistance]:
    """
    Yield the distance of each winner; cells without one are left out.

    `pair_of` returns the scripts of a task, or None for a task to leave out. Raises `IntegrityError` for a
    changed submission.
    """
    for row, run in ended:
        winner = run.tree.winner()
        pair = None if winner is None else pair_of(row.cell.task)
        if winner is None or pair is None:
            continue
        yield WinnerDistance(row, winner, winner_distance(run, winner, pair))


def distance_csv(distances: Sequence[WinnerDistance]) -> str:
    """Return the distances as CSV."""
    return csv_text(COLUMNS, [distance.values() for distance in distances])


def distance_figures(distances: Sequence[WinnerDistance]) -> Iterator[tuple[str, str]]:
    """Yield a name and a figure for each model: FSR against distance, a colour for each set of hints."""
    for number, model in enumerate(dict.fromkeys(d.row.cell.model for d in distances), 1):
        points = [
            WinnerPoint(d.row.cell.hint_text, f"task {d.row.cell.task}, {d.row.cell.scaffold}", x, fsr)
            for d in sorted(distances, key=lambda d: d.row.cell.hint_text)
            if d.row.cell.model == model
            and (fsr := d.row.fsr) is not None
            and (x := d.distance.recovered) is not None
        ]
        title, hints = f"{model}: FSR against distance", sorted({p.hints for p in points})
        for figure in fsr_figure(title, "distance recovered (tokens)", points, hints):
            yield f"distance-{number}.svg", render_svg(figure.plot, figure.caption, figure.key)

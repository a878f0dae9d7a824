"""Write the board as a directory: one self-contained page, its runs as JSON and CSV, and their bundles."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.core.digest import sha256_bytes
from kit.core.errors import DigestMismatch
from kit.core.files import write_atomic
from kit.leaderboard.page.agent_runs import AgentRuns
from kit.leaderboard.page.agent_section import AgentSection, agent_section
from kit.leaderboard.page.figures import Figure, KeyItem
from kit.leaderboard.page.legend import HEADS, TIER_LEGEND
from kit.leaderboard.page.plots import COLORS, Plot, PlotDot, PlotLine, color_class, dots_plot, lines_plot
from kit.leaderboard.page.published import bundle_path, results_csv, results_json
from kit.leaderboard.page.rank import TIERS, Board, BoardGroup, figure
from kit.leaderboard.page.rendering import html_environment
from kit.leaderboard.page.space import CARD, require_own_card, space_card
from kit.leaderboard.page.tables import (
    OVERALL_HEADS,
    RUN_HEADS,
    GroupRow,
    OverallRow,
    TextTable,
    group_row,
    number_of,
    overall_row,
    refused_table,
    series_table,
    smoke_table,
)
from kit.leaderboard.submit.entry import read_bounded
from kit.result.dsse import MAX_BUNDLE
from kit.result.folder import BUNDLE
from kit.values.task_id import in_order

MAX_LINES = 24
"""Curves of one plot."""


@dataclass(frozen=True, slots=True)
class PageContent:
    """Everything that page.html shows of a board."""

    tasks: int
    count: str
    overall: tuple[OverallRow, ...]
    task_numbers: tuple[int | str, ...]
    groups: tuple[GroupRow, ...]
    figures: tuple[Figure, ...]
    baselines: tuple[GroupRow, ...]
    series: TextTable | None
    refused: TextTable | None
    refused_count: str
    data: str
    smoke: TextTable | None
    smoke_count: str
    agents: AgentSection | None


def write_site(
    board: Board, site: Path, title: str, tasks: int, agents: AgentRuns | None = None, *, space: bool = False
) -> Path:
    """
    Write `index.html`, `results.json`, `results.csv` and `bundles/<run_id>.json`; return the page.

    With `space`, also the README.md that makes the directory a static Space of the Hugging Face Hub. The
    page loads nothing and needs no script; the same board gives the same bytes. Raises `RunError` if the
    disk is full, `IntegrityError` if a bundle is not the checked one any more, and as `require_own_card`.
    Other files in `site` stay.
    """
    if space:
        require_own_card(site)
    page = site / "index.html"
    for group in (*board.groups, *board.baselines):
        for result in group.results:
            data = read_bounded(result.submitted.where / BUNDLE, MAX_BUNDLE)
            if sha256_bytes(data) != result.submitted.bundle_sha256:
                raise DigestMismatch(f"{result.submitted.where / BUNDLE} changed after it was verified")
            write_atomic(site / bundle_path(result.run_id), data)
    write_atomic(site / "results.json", results_json(board, title, tasks))
    write_atomic(site / "results.csv", results_csv(board))
    if space:
        write_atomic(site / CARD, space_card(title))
    write_atomic(page, render(board, title, tasks, agents).encode("utf-8"))
    return page


def render(board: Board, title: str, tasks: int, agents: AgentRuns | None = None) -> str:
    """Return the page's HTML."""
    environment = html_environment()
    script = environment.get_template("page.js").render()
    return environment.get_template("page.html").render(
        title=title,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        colors=COLORS,
        heads=HEADS,
        run_heads=RUN_HEADS,
        overall_heads=OVERALL_HEADS,
        tiers=TIERS,
        tier_legend=TIER_LEGEND,
        page=_content(board, tasks, agents),
    )


def _content(board: Board, tasks: int, agents: AgentRuns | None) -> PageContent:
    return PageContent(
        tasks=tasks,
        count=_count(board),
        overall=tuple(overall_row(config, tasks) for config in board.overall),
        task_numbers=tuple(sorted({g.task for g in board.groups}, key=in_order)),
        groups=tuple(group_row(g) for g in board.groups),
        figures=tuple(_figures(board)),
        baselines=tuple(group_row(g) for g in board.baselines),
        series=series_table(board.series) if board.series else None,
        refused=refused_table(board.refused) if board.refused else None,
        refused_count=number_of(len(board.refused), "entry", "entries"),
        data=board.data,
        smoke=smoke_table(board.smoke) if board.smoke else None,
        smoke_count=number_of(len(board.smoke), "valid run"),
        agents=None if agents is None else agent_section(agents),
    )


def _count(board: Board) -> str:
    runs = sum(len(g.results) for g in board.groups)
    retracted = sum(r.submitted.entry.retracted is not None for g in board.groups for r in g.results)
    more = f", {retracted} of them retracted" if retracted else ""
    return f"{number_of(runs, 'run')}{more}."


def _figures(board: Board) -> Iterator[Figure]:
    color = {config: i for i, config in enumerate(sorted({g.config for g in board.groups}))}
    yield from _fsr_figures(board, color)
    by_task: dict[int | str, list[BoardGroup]] = {}
    for group in board.groups:
        by_task.setdefault(group.task, []).append(group)
    for task, groups in sorted(by_task.items(), key=lambda item: in_order(item[0])):
        lines = [
            PlotLine(
                g.config,
                g.median.curve,
                color[g.config],
                dashed=g.median.submitted.entry.retracted is not None,
            )
            for g in groups[:MAX_LINES]
        ]
        target = groups[0].median.submitted.bundle.predicate.task.target_val_loss
        plot = lines_plot(lines, "time on the host's clock, s", "validation loss, nats/token", target)
        caption = f"Task {task}: loss over time; the median run of each agent"
        yield from _figure(caption, plot, (line.label for line in lines), color)


def _fsr_figures(board: Board, color: dict[str, int]) -> Iterator[Figure]:
    dots = []
    for g in board.groups:
        if g.score is not None:
            ratio = g.score.ratio
            low, high = (ratio.low, ratio.high) if ratio and ratio.resolved else (None, None)
            dots.append(PlotDot(f"task {g.task}", g.config, g.score.mean, low, high, color[g.config]))
    caption = "FSR by task, with the 95 % interval (Fieller) where start, target and candidate ran twice"
    yield from _figure(caption, dots_plot(dots, "FSR"), (d.label for d in dots), color)
    hints: list[tuple[tuple[int, ...], PlotDot]] = []
    groups = {g.config: g for g in board.groups}
    for config in board.overall:
        group = groups[config.config]
        mean = figure(config, "mean")
        row = f"hints {','.join(map(str, group.hints))}" if group.hints else "no hints"
        dot = PlotDot(row, config.config, mean.value, mean.low, mean.high, color[config.config])
        hints.append((group.hints, dot))
    ordered = [dot for _, dot in sorted(hints, key=lambda h: (len(h[0]), h[0], h[1].label))]
    plot = dots_plot(ordered, "mean FSR over all tasks")
    yield from _figure(
        "FSR by hint level: mean over all tasks, with the 95 % interval",
        plot,
        (d.label for d in ordered),
        color,
    )


def _figure(
    caption: str, plot: Plot | None, configs: Iterable[str], color: dict[str, int]
) -> Iterator[Figure]:
    """Yield a figure, or nothing if there is no plot."""
    if plot is not None:
        yield Figure(caption, plot, tuple(KeyItem(color_class(color[c]), c) for c in sorted(set(configs))))

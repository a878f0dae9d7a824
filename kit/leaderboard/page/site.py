"""The board as a folder: one self-contained page, and the bundles that it links to. Computes no score."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

from kit.core.digest import sha256_bytes
from kit.core.errors import DigestMismatch
from kit.core.files import write_atomic
from kit.leaderboard.page.escape import escape
from kit.leaderboard.page.plots import COLORS, PlotDot, PlotLine, color_of, dots_plot, lines_plot
from kit.leaderboard.page.rank import Board, BoardGroup, figure
from kit.leaderboard.page.tables import (
    ABOUT_TIERS,
    baseline_table,
    board_table,
    overall_table,
    refused_list,
    series_table,
    tools,
)
from kit.leaderboard.submit.entry import bounded
from kit.result.appraisal.trust import Tier
from kit.result.dsse import MAX_BUNDLE
from kit.result.folder import BUNDLE

MAX_LINES = 24
"""Curves of one plot."""


def write_site(board: Board, site: Path, title: str, tasks: int) -> Path:
    """
    Write `index.html` and `bundles/<run_id>.json` below `site`; return the page.

    The page loads nothing and needs no script; the same board gives the same bytes. Raises `RunError` if the
    disk is full, `IntegrityError` if a bundle is not the checked one any more. Other files in `site` stay.
    """
    page = site / "index.html"
    for group in (*board.groups, *board.baselines):
        for result in group.results:
            data = bounded(result.submitted.where / BUNDLE, MAX_BUNDLE)
            if sha256_bytes(data) != result.submitted.bundle_sha256:
                raise DigestMismatch(f"{result.submitted.where / BUNDLE} was changed after it was checked")
            write_atomic(site / "bundles" / f"{result.run_id}.json", data)
    write_atomic(page, render(board, title, tasks).encode("utf-8"))
    return page


def render(board: Board, title: str, tasks: int) -> str:
    """Return the page's HTML."""
    script = _resource("page.js")
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    values = {
        "TITLE": escape(title),
        "LEAD": _lead(board),
        "BODY": "\n".join(_body(board, tasks)),
        "FOOT": _foot(),
        "COLORS": _colors(),
        "SCRIPT": script,
        "SCRIPT_HASH": hashed,
    }
    return re.sub(r"@([A-Z_]+)@", lambda m: values[m[1]], _resource("page.html"))


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _lead(board: Board) -> str:
    runs = sum(len(g.results) for g in board.groups)
    gone = sum(r.submitted.entry.retracted is not None for g in board.groups for r in g.results)
    more = f", {gone} of them retracted" if gone else ""
    return (
        f"{runs} runs{more}, each a signed bundle that was verified again for this page. FSR is the share of"
        " a record-to-record speedup that an agent recovered: 0 is the start record's time, 1 the next"
        " record's. Every submitted run counts, and every run that its series reserved: one that missed the"
        " target, or never started, scores 0."
    )


def _body(board: Board, tasks: int) -> Iterator[str]:
    if board.overall:
        yield "<h2>Over all tasks</h2>"
        yield f'<p class="soft small">All {tasks} tasks count, a task without a run as 0. IQM is the mean of'
        yield "the middle half of the runs. Intervals are 95 %, from a stratified bootstrap.</p>"
        yield overall_table(board.overall, tasks)
    yield "<h2>Results</h2>"
    if board.groups:
        yield tools(board)
        yield board_table(board.groups)
        yield '<details class="small"><summary>What tiers and environments mean</summary><ul>'
        yield from (f"<li><b>{tier}</b>: {ABOUT_TIERS[tier]}</li>" for tier in Tier)
        yield "<li><b>reproduced</b>: a rerun under another trusted key agrees</li>"
        yield "<li>environment: GPUs; image, runtime and isolation; how near torch and Python are to what the"
        yield "record ran on</li></ul></details>"
    else:
        yield "<p>No result has been accepted yet.</p>"
    yield from _plots(board)
    if board.baselines:
        yield "<h2>The records' own scripts</h2>"
        yield '<p class="soft small">Baselines: FSR is taken between them where they exist.</p>'
        yield baseline_table(board.baselines)
    if board.series:
        yield "<h2>Series</h2>"
        yield '<p class="soft small">Reserved and signed before their first run; each is here whole. How many'
        yield "there are says how much was tried. Runs outside a series were chosen by their sender, out of a"
        yield "number that nobody else knows.</p>"
        yield f'<details class="small"><summary>{len(board.series)} series</summary>'
        yield series_table(board.series) + "</details>"
    if board.refused:
        yield f"<h2>Not accepted</h2><details><summary>{len(board.refused)} places</summary>"
        yield refused_list(board.refused) + "</details>"


def _plots(board: Board) -> Iterator[str]:
    configs = sorted({g.config for g in board.groups})
    color = {config: i for i, config in enumerate(configs)}
    figures = [*_fsr_plots(board, color)]
    by_task: dict[int, list[BoardGroup]] = {}
    for group in board.groups:
        by_task.setdefault(group.task, []).append(group)
    for task, groups in sorted(by_task.items()):
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
        plot = lines_plot(lines, "host time, s", "val loss, nats", target)
        if plot:
            caption = f"Task {task}: loss against the host's time, each agent's median run"
            figures.append(_figure(caption, plot, (line.label for line in lines), color))
    if figures:
        yield '<h2>Plots</h2><div class="plots">' + "".join(figures) + "</div>"


def _fsr_plots(board: Board, color: dict[str, int]) -> Iterator[str]:
    dots = []
    for g in board.groups:
        if g.score is not None:
            ratio = g.score.ratio
            low, high = (ratio.low, ratio.high) if ratio and ratio.resolved else (None, None)
            dots.append(PlotDot(f"task {g.task}", g.config, g.score.mean, low, high, color[g.config]))
    plot = dots_plot(dots, "FSR")
    if plot:
        caption = "FSR by task, with Fieller's 95 % interval where it can be had"
        yield _figure(caption, plot, (d.label for d in dots), color)
    hints: list[tuple[tuple[int, ...], PlotDot]] = []
    for config in board.overall:
        group = next(g for g in board.groups if g.config == config.config)
        mean = figure(config, "mean")
        row = f"hints {','.join(map(str, group.hints))}" if group.hints else "no hints"
        dot = PlotDot(row, config.config, mean.value, mean.low, mean.high, color[config.config])
        hints.append((group.hints, dot))
    ordered = [dot for _, dot in sorted(hints, key=lambda h: (len(h[0]), h[0], h[1].label))]
    plot = dots_plot(ordered, "mean FSR over all tasks")
    if plot:
        caption = "Hints compared: mean FSR over all tasks, 95 %"
        yield _figure(caption, plot, (d.label for d in ordered), color)


def _figure(caption: str, plot: str, shown: Iterable[str], color: dict[str, int]) -> str:
    keys = "".join(f'<li><i class="{color_of(color[c])}"></i>{escape(c)}</li>' for c in sorted(set(shown)))
    return f'<figure><figcaption>{escape(caption)}</figcaption>{plot}<ul class="key">{keys}</ul></figure>'


def _colors() -> str:
    return "\n".join(
        f".c{i} polyline,.c{i} line,.c{i} circle{{stroke:var(--c{i});stroke-width:2}}"
        f".c{i} circle{{fill:var(--c{i})}}.key .c{i}{{background:var(--c{i});border-color:var(--c{i})}}"
        for i in range(COLORS)
    )


def _foot() -> str:
    return (
        "Made by <code>speedrun report</code> from verified bundles; this page loads nothing. Check a bundle:"
        " <code>speedrun bundle verify</code>, cosign, or openssl."
    )

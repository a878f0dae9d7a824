"""Figures of a sweep as SVG: FSR by hints and scaffold, and how nodes ended, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kit.agent.recorded import RecordedRun
from kit.leaderboard.page.agent_runs import STATUS_CLASSES, group_runs, shares_of
from kit.leaderboard.page.figures import KeyItem
from kit.leaderboard.page.plots import PlotDot, color_class, dots_plot, stacks_plot
from kit.leaderboard.page.svg import render_svg
from kit.sweep.tables import SweepScore


def fsr_figure(scores: Sequence[SweepScore], model: str, iqm: bool) -> str | None:
    """Return FSR of one model, a row for each set of hints and a dot for each scaffold; None without one."""
    own = [score for score in scores if score.model == model]
    scaffolds = list(dict.fromkeys(score.scaffold for score in own))
    dots = []
    for score in sorted(own, key=lambda s: s.hints):
        figure = score.iqm if iqm else score.mean
        color = scaffolds.index(score.scaffold)
        dots.append(
            PlotDot(f"hints {score.hints}", score.scaffold, figure.value, figure.low, figure.high, color)
        )
    name = "IQM of FSR" if iqm else "mean FSR"
    plot = dots_plot(dots, f"{name} with 95 % interval")
    if plot is None:
        return None
    key = [KeyItem(color_class(i), scaffold) for i, scaffold in enumerate(scaffolds)]
    cells = sum(score.cells for score in own)
    ended = sum(score.ended for score in own)
    return render_svg(plot, f"{model}: {name}, {ended} of {cells} cells ended", key)


def status_figures(runs: Sequence[RecordedRun]) -> Iterator[tuple[str, str]]:
    """Yield a name and a figure for each task and configuration: the shares of statuses by step."""
    names = [name for name, _ in STATUS_CLASSES]
    key = [KeyItem(color_class(i), name) for i, name in enumerate(names)]
    for number, group in enumerate(group_runs(runs), 1):
        plot = stacks_plot(shares_of(group), names, "step", "share of runs")
        if plot is not None:
            title = f"{group.task}: {group.label}"
            yield f"statuses-{number:03d}.svg", render_svg(plot, title, key)

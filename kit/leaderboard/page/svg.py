"""Render a plot of the page as an SVG image of its own, for a paper or a slide."""

from __future__ import annotations

from collections.abc import Sequence

from kit.leaderboard.page.figures import KeyItem
from kit.leaderboard.page.plots import Plot
from kit.leaderboard.page.rendering import html_environment

LIGHT = ("#0b62c4", "#c2410c", "#15803d", "#a21caf", "#6b7a00", "#0e7490", "#be123c", "#4d5560")
"""The page's colours on white, in the order of `plots.color_class`."""
TITLE_PX = 30
KEY_PX = 16


def render_svg(plot: Plot, title: str, key: Sequence[KeyItem] = ()) -> str:
    """Return the image: the title, the plot, and a line for each item of the key."""
    template = html_environment().get_template("plot.svg")
    height = TITLE_PX + plot.height + KEY_PX * (len(key) + 1)
    return template.render(plot=plot, title=title, key=tuple(key), colors=LIGHT, top=TITLE_PX, height=height)

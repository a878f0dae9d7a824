"""A plot of the page, with its caption and key."""

from __future__ import annotations

from dataclasses import dataclass

from kit.leaderboard.page.plots import Plot


@dataclass(frozen=True, slots=True)
class KeyItem:
    """One colour of a plot and its configuration."""

    color: str
    label: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot with its caption and key."""

    caption: str
    plot: Plot
    key: tuple[KeyItem, ...]

"""The new time of a winner, and the score of its series with its interval, for people and as JSON."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kit.agent.events import Retimed
    from kit.agent.series_score import SeriesScore


def retimed_text(retimed: Retimed | None, *, with_runs: bool) -> str | None:
    """Return the winner's new time as one line, on request with how many runs count; None without one."""
    if retimed is None or retimed.mean_ms is None:
        return None
    counted = f", {retimed.reached} of {retimed.runs} runs" if with_runs else ""
    recovered = "" if retimed.fsr is None else f", recovered {retimed.fsr:.3f}"
    return f"timed again: {retimed.mean_ms / 1000:.3f} s{counted}{recovered}; series {retimed.series}"


def score_text(score: SeriesScore) -> str:
    """Return the score as one line."""
    ratio = score.ratio
    if score.refused:
        return f"score of the series: none: {score.refused}"
    if not ratio.resolved:
        return "score of the series: unresolved, the gap between start and target is within the noise"
    level = f"{100 * ratio.level:.0f} %"
    return f"score of the series: {ratio.estimate:.3f}, {level} interval {ratio.low:.3f} to {ratio.high:.3f}"


def score_document(score: SeriesScore) -> dict[str, Any]:
    """Return the score as values; None stands for what is not finite, or does not count."""
    ratio = score.ratio
    figures = {"recovered": ratio.estimate, "low": ratio.low, "high": ratio.high}
    return {
        **{n: value if isfinite(value) and not score.refused else None for n, value in figures.items()},
        "resolved": ratio.resolved,
        "level": ratio.level,
        "refused": score.refused or None,
    }

"""Plots of a board as SVG text: loss against time, FSR by task, FSR by hints. Computes no score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10

from kit.leaderboard.page.escape import escape

WIDTH = 420
"""About the pixels that a plot has on a phone and on a desktop, so that its text is legible on both."""
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 12, 44
ROWS_LEFT = 84
COLORS = 8
SPAN = 1.0
"""Nats above and below the target that a plot of losses shows."""


@dataclass(frozen=True, slots=True)
class PlotLine:
    """One curve."""

    label: str
    points: tuple[tuple[float, float], ...]
    color: int
    """Index of a colour of the page's style."""
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class PlotDot:
    """One value with its interval."""

    row: str
    label: str
    value: float
    low: float | None
    high: float | None
    color: int


def lines_plot(
    lines: Sequence[PlotLine], x_title: str, y_title: str, mark: float | None, height: int = 270
) -> str:
    """Return curves over a common pair of axes; `mark` is a horizontal line. Empty text without a point."""
    drawn = [line for line in lines if line.points]
    if not drawn:
        return ""
    xs = [x for line in drawn for x, _ in line.points]
    ys = [y for line in drawn for _, y in line.points]
    if mark is not None:
        ys = [y for y in ys if abs(y - mark) <= SPAN] + [mark, mark + SPAN / 2]
    x_axis = _Axis(0.0, max(xs), LEFT, WIDTH - RIGHT)
    y_axis = _Axis(min(ys), max(ys), height - BOTTOM, TOP)
    parts = [*_grid(x_axis, y_axis, height, x_title, y_title)]
    if mark is not None:
        y = y_axis.at(mark)
        parts.append(f'<line class="mark" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="mark" x="{LEFT + 4}" y="{y - 5:.1f}">{mark:g}</text>')
    for line in drawn:
        inside = _below(line.points, y_axis.high)
        path = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in inside)
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        title = f"<title>{escape(line.label)}</title>"
        parts.append(
            f'<g class="{color_of(line.color)}"><polyline points="{path}"{dash}>{title}</polyline></g>'
        )
    return _svg(parts, height, f"{y_title} against {x_title}")


def dots_plot(dots: Sequence[PlotDot], title: str) -> str:
    """Return one row for each `Dot.row`, its dots side by side in colour, 0 and 1 marked."""
    shown = [d for d in dots if isfinite(d.value)]
    if not shown:
        return ""
    rows: dict[str, list[PlotDot]] = {}
    for dot in shown:
        rows.setdefault(dot.row, []).append(dot)
    ends = [v for d in shown for v in (d.low, d.high, d.value) if v is not None and isfinite(v)]
    axis = _Axis(min(-0.05, max(min(ends), -1.0)), max(1.05, min(max(ends), 2.5)), ROWS_LEFT, WIDTH - RIGHT)
    parts, y = [], TOP + 4
    for row, members in rows.items():
        begin = y
        for dot in members:
            y += 14
            parts += _dot(dot, axis, y)
        y += 8
        at = (begin + y) / 2 + 4
        parts.append(f'<text x="{ROWS_LEFT - 8}" y="{at:.0f}" text-anchor="end">{escape(row)}</text>')
        parts.append(f'<line class="grid" x1="{ROWS_LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.0f}" y2="{y:.0f}"/>')
    height = int(y + BOTTOM)
    for value in axis.ticks():
        x = axis.at(value)
        kind = "mark" if value in (0.0, 1.0) else "grid"
        parts.insert(0, f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{y:.0f}"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.0f}" text-anchor="middle">{value:g}</text>')
    middle = (ROWS_LEFT + WIDTH) / 2
    parts.append(f'<text x="{middle:.0f}" y="{y + 34:.0f}" text-anchor="middle">{escape(title)}</text>')
    return _svg(parts, height, title)


def color_of(number: int) -> str:
    """Return the classes of the nth configuration: eight colours, then the same ones hollow."""
    return f"c{number % COLORS}" + (" h" if number >= COLORS else "")


def _below(points: Sequence[tuple[float, float]], top: float) -> list[tuple[float, float]]:
    """Cut a curve where it comes down through `top`, so that its steep beginning does not set the scale."""
    first = next((i for i, (_, y) in enumerate(points) if y <= top), len(points))
    kept = list(points[first:])
    if 0 < first < len(points):
        (x0, y0), (x1, y1) = points[first - 1], points[first]
        kept.insert(0, (x0 + (x1 - x0) * (y0 - top) / (y0 - y1), top))
    return kept


def _dot(dot: PlotDot, axis: _Axis, y: float) -> list[str]:
    tip = f"<title>{escape(f'{dot.label}: {dot.value:.3f}')}</title>"
    parts = []
    if dot.low is not None and dot.high is not None and isfinite(dot.low) and isfinite(dot.high):
        a, b = axis.at(dot.low), axis.at(dot.high)
        parts.append(f'<line x1="{a:.1f}" x2="{b:.1f}" y1="{y}" y2="{y}"/>')
    parts.append(f'<circle cx="{axis.at(dot.value):.1f}" cy="{y}" r="4.5"/>')
    return [f'<g class="{color_of(dot.color)}">{tip}', *parts, "</g>"]


class _Axis:
    """A linear axis from data to pixels; values outside are put on its end."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        margin = 0.04 * (high - low) or 0.5
        self.low, self.high = (low, high + margin) if low == 0 else (low - margin, high + margin)
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        raw = (self.high - self.low) / 5
        power = 10 ** floor(log10(raw))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
        first = -(-self.low // step)
        return [round((first + i) * step, 10) for i in range(12) if (first + i) * step <= self.high]


def _grid(x: _Axis, y: _Axis, height: int, x_title: str, y_title: str) -> list[str]:
    bottom = height - BOTTOM
    parts = []
    for value in y.ticks():
        at = y.at(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in x.ticks():
        at = x.at(value)
        parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{bottom + 34}" text-anchor="middle">{escape(x_title)}</text>')
    turned = f'transform="rotate(-90 14 {bottom / 2:.0f})"'
    parts.append(f'<text x="14" y="{bottom / 2:.0f}" text-anchor="middle" {turned}>{escape(y_title)}</text>')
    return parts


def _svg(parts: Sequence[str], height: int, label: str) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
    return head + "".join(parts) + "</svg>"

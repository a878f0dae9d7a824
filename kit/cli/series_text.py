"""Print the statistics of a series as tables and as one JSON object."""

from __future__ import annotations

from typing import Any

from kit.cli.terminal import emit_json, note, table
from kit.core.text import counted
from kit.series.figures import Member, SeriesFigures


def shown_below(figures: SeriesFigures) -> bool:
    """Return whether the mean loss is below the target with p < 0.01."""
    return figures.loss is not None and figures.loss.p < 0.01


def show_series(figures: SeriesFigures, as_json: bool) -> None:
    """Print one JSON object on stdout, or the tables on stderr."""
    if as_json:
        emit_json(_document(figures))
        return
    rows = [
        (
            m.slot.run_id, str(m.slot.arm), _status(m), _number(m.loss, ".4f"),
            _number(m.time.claimed if m.time else None, ".0f"),
            _number(m.time.untimed_overhead if m.time else None, "+.0f"),
        )
        for m in figures.members
    ]  # fmt: skip
    note(*table(("run", "arm", "ended", "loss", "claimed, ms", "untimed, ms"), rows))
    heads = ("arm", "reserved", "with a loss", "reached", "mean time, ms", "95 %")
    arms = [
        (
            str(a.arm), str(a.reserved), str(a.counted), str(a.reached), _number(a.mean_ms, ".0f"),
            "-" if a.low_ms is None or a.high_ms is None else f"{a.low_ms:.0f} .. {a.high_ms:.0f}",
        )
        for a in figures.arms
    ]  # fmt: skip
    note("", *table(heads, arms))
    note("", _loss(figures), _fsr(figures))


def _status(member: Member) -> str:
    return "never started" if member.bundle is None else str(member.bundle.predicate.run.status)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _loss(figures: SeriesFigures) -> str:
    if figures.loss is None:
        return f"mean loss: unknown, because not every run ended with a loss (target {figures.target:g})"
    p = "needs 2 runs" if figures.loss.p != figures.loss.p else f"{figures.loss.p:.4f}"
    runs = counted(figures.loss.runs, "run")
    return f"mean loss {figures.loss.mean:.4f} of {runs}; p against {figures.target:g}: {p}"


def _fsr(figures: SeriesFigures) -> str:
    if figures.ratio is None:
        return "FSR: unknown; it needs 2 timed runs of each arm (--interleave)"
    if figures.unresolved:
        return "FSR: unresolved; start and target differ too little on this machine"
    r = figures.ratio
    text = f"FSR {r.estimate:.3f}, 95 % {r.low:.3f} .. {r.high:.3f} (Fieller)"
    if shown_below(figures):
        return text
    return f"{text}; from times only: the mean loss is not shown to be below the target"


def _document(figures: SeriesFigures) -> dict[str, Any]:
    ended = figures.body.ended
    loss, ratio = figures.loss, figures.ratio
    return {
        "series": figures.body.plan.id,
        "trusted": figures.trusted,
        "rule": figures.body.plan.rule,
        "ended": ended.reason if ended else None,
        "runs": [
            {
                "run_id": m.slot.run_id, "arm": m.slot.arm, "ended": _status(m), "loss": m.loss,
                "time_ms": m.time_ms, "excess_ms": m.time.untimed_overhead if m.time else None,
            }
            for m in figures.members
        ],
        "arms": [
            {
                "arm": a.arm, "reserved": a.reserved, "with_loss": a.counted, "reached": a.reached,
                "mean_ms": a.mean_ms, "interval_ms": [a.low_ms, a.high_ms],
            }
            for a in figures.arms
        ],
        "target": figures.target if figures.target == figures.target else None,
        "loss": None if loss is None else {
            "mean": loss.mean, "runs": loss.runs, "p": None if loss.p != loss.p else loss.p,
        },
        "fsr": None if ratio is None or not ratio.resolved else {
            "estimate": ratio.estimate, "low": ratio.low, "high": ratio.high,
        },
        "unresolved": figures.unresolved,
    }  # fmt: skip

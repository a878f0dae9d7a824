"""Print scores as tables and as JSON objects."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from kit.cli.terminal import emit_json, note, say, table
from kit.core.text import counted, one_line
from kit.score.metrics import Interval, power, runs_needed
from kit.score.paper import PaperScore
from kit.score.report import ConfigScore, TaskScore


def show_scores(scores: tuple[ConfigScore, ...], drawn: dict[str, int], as_json: bool) -> None:
    """Print the scores of every configuration. `drawn` holds the seed and repetitions of the bootstrap."""
    if as_json:
        emit_json({"rules": "kit", **drawn, "configs": [_document(c) for c in scores]})
        return
    for config in scores:
        say(one_line(config.config))
        heads = ("task", "runs", "reached", "FSR", "95 % of reached", "p(loss)", "baseline")
        say(*table(heads, [_line(t) for t in config.tasks], right=6))
        if config.absent:
            numbers = ", ".join(map(str, config.absent))
            how = "left out" if config.partial else "counted as 0"
            say(f"tasks without a run, {how}: {numbers}")
        say("", *_figures(config.figures), "")


def _line(t: TaskScore) -> tuple[str, ...]:
    interval = "-"
    if t.ratio is not None:
        interval = "unresolved" if t.unresolved else f"{t.ratio.low:.2f}..{t.ratio.high:.2f}"
    p = "-" if t.loss is None or math.isnan(t.loss.p) else f"{t.loss.p:.4f}"
    kinds = ", ".join(t.kinds) or ("given" if t.reached else "-")
    return (str(t.task), str(len(t.runs)), str(t.reached), f"{t.mean:.3f}", interval, p, kinds)


def _figures(figures: tuple[Interval, ...]) -> list[str]:
    return [f"{f.name:<15} {f.value:.3f}  [{f.low:.3f}, {f.high:.3f}]" for f in figures]


def _document(config: ConfigScore) -> dict[str, Any]:
    return {
        "config": config.config,
        "tasks": [
            {
                "task": t.task,
                "mean": t.mean,
                "reached": t.reached,
                "unresolved": t.unresolved,
                "ratio": _finite(asdict(t.ratio)) if t.ratio else None,
                "loss": _finite(asdict(t.loss)) if t.loss else None,
                "runs": [asdict(r) for r in t.runs],
            }
            for t in config.tasks
        ],
        "absent": config.absent,
        "partial": config.partial,
        "figures": {f.name: {"value": f.value, "low": f.low, "high": f.high} for f in config.figures},
    }


def _finite(document: dict[str, Any]) -> dict[str, Any]:
    """Replace numbers that JSON cannot represent by None."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in document.items()}


def show_paper(scores: tuple[PaperScore, ...], as_json: bool) -> None:
    """Print the scores under the paper's rules."""
    note("warning: paper rules (best 3 runs of a task, losses under 3.29, no task 20): not comparable")
    if as_json:
        emit_json({"rules": "paper", "configs": [asdict(c) for c in scores]})
        return
    for c in scores:
        say(f"{one_line(c.config)}: {c.mean:.3f} ± {c.plus_minus:.3f} over {counted(len(c.cells), 'task')}")
        say(
            f"{counted(c.runs, 'run')}, {c.left_out} left out; "
            f"{counted(c.padded, 'score')} repeated to make three",
            "",
        )
        say(*_figures(c.figures), "")


def show_power(sd: float, margin: float, as_json: bool) -> None:
    """Print the power of the test that the mean loss is below the target, by number of runs."""
    sizes = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30)
    powers = {n: power(n, sd, margin) for n in sizes}
    try:
        needed: int | None = runs_needed(sd, margin)
    except ValueError:
        needed = None
    if as_json:
        emit_json({"sd": sd, "margin": margin, "alpha": 0.01, "power": powers, "runs_for_80_percent": needed})
        return
    say(*table(("runs", "power"), [(str(n), f"{p:.2f}") for n, p in powers.items()], right=2))
    what = counted(needed, "run") if needed else "more than 10,000 runs"
    say("", f"If the mean loss is {margin:g} below 3.28 and the standard deviation of runs is {sd:g},")
    say(f"{what} show it at p < 0.01 with a probability of 80 %.")

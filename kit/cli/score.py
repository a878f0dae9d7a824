"""`speedrun score`: FSR and aggregates of many runs. Runs nothing and signs nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.cli.options import Number, keys_option

if TYPE_CHECKING:
    from kit.score.metrics import Interval
    from kit.score.paper import PaperScore
    from kit.score.report import ConfigScore, TaskScore
    from kit.score.rows import Row


@click.command(name="score")
@click.argument("bundles", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "--table", type=click.Path(dir_okay=False, path_type=Path), help="CSV: task, config, run, val_loss, …"
)
@click.option(
    "--baseline",
    "wanted",
    type=click.Choice(["auto", "same-machine", "scaled", "re-timed", "official"]),
    default="auto",
    show_default=True,
    help="What FSR is measured between; auto takes the best that the runs allow.",
)
@click.option("--partial", is_flag=True, help="Leave out tasks without a run, instead of counting them as 0.")
@click.option("--paper-rules", is_flag=True, help="Score as the paper's released analysis did, to compare.")
@click.option(
    "--power", "show_power", is_flag=True, help="Print how many runs upstream's p < 0.01 needs, and stop."
)
@click.option(
    "--sd",
    type=Number(min=0, min_open=True),
    default=0.0017,
    show_default=True,
    help="For --power.",
)
@click.option(
    "--margin",
    type=Number(min=0, min_open=True),
    default=0.002,
    show_default=True,
    help="For --power.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the bootstrap.")
@click.option("--repetitions", type=click.IntRange(100, 1_000_000), default=50_000, show_default=True)
@keys_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(**options: Any) -> None:
    """Score signed bundles, or a table of runs.

    FSR of a run is (start - time) / (start - target): 0 is the start record's time, 1 the next record's. A
    run that failed or ended above 3.28 scores 0, and so does one that is slower than its start. Every run
    and every one of the 19 tasks counts. Runs of role start and target, or bundles of the records' own
    scripts, give a same-machine baseline.

    \b
    Examples:
      speedrun score runs/r*/
      speedrun score --table runs.csv --json
      speedrun score --table runs.csv --paper-rules
      speedrun score --power --sd 0.0017 --margin 0.002
    """
    require_extra()
    if options["show_power"]:
        _show_power(options["sd"], options["margin"], options["as_json"])
        return
    from kit.benchmark.tasks import load_tasks
    from kit.core.facts import facts_root
    from kit.score.baseline import BaselineKind
    from kit.score.paper import paper_score
    from kit.score.report import score

    rows = _rows(options["bundles"], options["table"], options["keys"])
    tasks = load_tasks(facts_root())
    drawn = {"seed": options["seed"], "repetitions": options["repetitions"]}
    if options["paper_rules"]:
        _show_paper(paper_score(rows, tasks, **drawn), options["as_json"])
        return
    wanted = None if options["wanted"] == "auto" else BaselineKind(options["wanted"])
    found = score(rows, tasks, baseline_kind=wanted, partial=options["partial"], **drawn)
    _show(found, drawn, options["as_json"])


def require_extra() -> None:
    """Raise `PrerequisiteError` if the extra `score` is not installed."""
    from kit.core.errors import PrerequisiteError

    try:
        import kit.score.metrics  # noqa: F401
    except ModuleNotFoundError as e:
        if e.name is None or e.name.split(".")[0] not in ("numpy", "scipy"):
            raise
        raise PrerequisiteError(f"{e.name} is not installed", "pip install 'speedrun-kit[score]'") from e


def _rows(bundles: tuple[Path, ...], table: Path | None, keys: Path) -> tuple[Row, ...]:
    from kit.cli.terminal import note
    from kit.core.errors import UsageError
    from kit.core.facts import facts_root
    from kit.result.keys import trusted
    from kit.score.rows import read_bundles, read_table

    if bool(bundles) == (table is not None):
        raise UsageError(
            "either bundles or one --table are scored", "speedrun score runs/r*/, or --table runs.csv"
        )
    if table is not None:
        return read_table(table)
    rows, notes = read_bundles(bundles, trusted(keys), facts_root() / "records")
    for text in notes:
        note(text)
    return rows


def _show(found: tuple[ConfigScore, ...], drawn: dict[str, int], as_json: bool) -> None:
    from kit.cli.terminal import emit_json, printable, table

    if as_json:
        emit_json({"rules": "kit", **drawn, "configs": [_document(c) for c in found]})
        return
    for config in found:
        click.echo(printable(f"{config.config}"))
        heads = ("task", "runs", "reached", "FSR", "95 % of reached", "p(loss)", "baseline")
        click.echo(table(heads, [_line(t) for t in config.tasks], right=6))
        if config.absent:
            numbers = ", ".join(map(str, config.absent))
            how = "left out" if config.partial else "counted as 0"
            click.echo(f"without a run, {how}: {numbers}")
        click.echo(f"\n{_figures(config.figures)}\n")


def _line(t: TaskScore) -> tuple[str, ...]:
    interval = "-"
    if t.ratio is not None:
        interval = "unresolved" if t.unresolved else f"{t.ratio.low:.2f}..{t.ratio.high:.2f}"
    p = "-" if t.loss is None or math.isnan(t.loss.p) else f"{t.loss.p:.4f}"
    kinds = ", ".join(t.kinds) or ("given" if t.reached else "-")
    return (str(t.task), str(len(t.runs)), str(t.reached), f"{t.mean:.3f}", interval, p, kinds)


def _figures(figures: tuple[Interval, ...]) -> str:
    return "\n".join(f"{f.name:<15} {f.value:.3f}  [{f.low:.3f}, {f.high:.3f}]" for f in figures)


def _document(config: ConfigScore) -> dict[str, Any]:
    from dataclasses import asdict

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
    """Replace what JSON cannot say by null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in document.items()}


def _show_paper(found: tuple[PaperScore, ...], as_json: bool) -> None:
    from dataclasses import asdict

    from kit.cli.terminal import emit_json, note, printable

    note("paper rules: best 3 runs of a task, losses under 3.29, start record 20 left out; not comparable")
    if as_json:
        emit_json({"rules": "paper", "configs": [asdict(c) for c in found]})
        return
    for c in found:
        click.echo(printable(f"{c.config}: {c.mean:.3f} ± {c.plus_minus:.3f} over {len(c.cells)} tasks"))
        click.echo(
            f"{c.runs} runs, {c.left_out} of them left out; {c.padded} scores repeated to make three\n"
        )
        click.echo(f"{_figures(c.figures)}\n")


def _show_power(sd: float, margin: float, as_json: bool) -> None:
    from kit.cli.terminal import emit_json, table
    from kit.score.metrics import power, runs_needed

    sizes = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30)
    powers = {n: power(n, sd, margin) for n in sizes}
    try:
        needed: int | None = runs_needed(sd, margin)
    except ValueError:
        needed = None
    if as_json:
        emit_json({"sd": sd, "margin": margin, "alpha": 0.01, "power": powers, "runs_for_80_percent": needed})
        return
    click.echo(table(("runs", "power"), [(str(n), f"{p:.2f}") for n, p in powers.items()], right=2))
    what = f"{needed} runs" if needed else "more than 10,000 runs"
    click.echo(f"\nA mean loss {margin:g} below 3.28, where runs differ by {sd:g} (sd):")
    click.echo(f"{what} show it at p < 0.01 in 8 of 10 tries")

"""`speedrun series`, and the part of `speedrun eval --runs` that people see. Computes no figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.cli.interrupt import cancellable
from kit.cli.options import keys_option
from kit.cli.terminal import distrust, emit_json, note

if TYPE_CHECKING:
    from kit.evaluate.audits import AuditSelection
    from kit.evaluate.request import Places, Request
    from kit.evaluate.run import Evaluation
    from kit.series.figures import Member, SeriesFigures
    from kit.series.record import SeriesPlan, Slot
    from kit.series.run import SeriesRequest

SD, MARGIN = 0.0017, 0.002
"""Nats per token: spread of final losses and usual distance from the target, of upstream's records."""


@click.command(name="series")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@keys_option
def command(folder: Path, as_json: bool, keys: Path) -> int:
    """Verify a series and show what it comes to. FOLDER is <out>/<series_id>; its runs lie beside it.

    Plan, record and every run's bundle are verified, and that each run is the one that was reserved before
    the first started. All figures are computed anew.

    Exit 0: the mean loss is below the target with p < 0.01. 1: it is not shown to be, or the key is not
    trusted. 4: something is not what was signed.

    \b
    Examples:
      speedrun series runs/s03-20261123T170000Z-1a2b3c4d
    """
    from kit.cli.score import require_extra
    from kit.core.facts import facts_root
    from kit.result.keys import trusted

    require_extra()
    from kit.series.figures import open_series

    found = open_series(folder, trusted(keys), facts_root() / "records")
    _show(found, as_json)
    if not found.trusted:
        note("signed by a key that you do not trust")
        distrust(folder)
    return 0 if found.trusted and _shown_below(found) else 1


def run_series(
    request: Request, asked: SeriesRequest, places: Places, wanted: AuditSelection | None, as_json: bool
) -> int:
    """Run a series, tell it live, show its table; return the exit code."""
    from kit.cli.eval import listener
    from kit.cli.score import require_extra
    from kit.result.keys import trusted
    from kit.series.run import plans, run_series

    require_extra()
    from kit.series.figures import open_series

    found = plans(request, asked, places)
    _tell_power(asked.runs)
    with cancellable() as cancelled:
        record = run_series(
            found, asked, places, lambda plan: listener(plan, cancelled), wanted, _tell_plan, _tell_end
        )
        stopped = cancelled()
    figures = open_series(record.parent, trusted(places.keys), places.records)
    _show(figures, as_json)
    if not as_json:
        click.echo(str(record))
    return 130 if stopped else 0 if _shown_below(figures) else 1


def close_lost_series(out: Path, keys: Path) -> None:
    """Sign the records of series whose kit died, and tell of each."""
    from kit.result.keys import load_or_create
    from kit.series.record import abandoned, close_lost

    closed = close_lost(out, load_or_create(keys)) if abandoned(out) else []
    for path in closed:
        note(f"series {path.parent.name} had lost its kit; its record is now {path}")


def _tell_power(runs: int) -> None:
    from kit.score.metrics import power

    if runs < 2:
        note("one run proves nothing about a mean: p needs at least 2")
        return
    chance = power(runs, SD, MARGIN)
    note(
        f"{runs} runs show a mean loss {MARGIN:g} below the target at p < 0.01 with probability {chance:.2f},"
        f" if runs differ by {SD:g} (sd), as upstream's do"
    )


def _tell_plan(plan: SeriesPlan) -> None:
    note(f"series {plan.id}: {len(plan.slots)} runs reserved and signed; it ends after: {plan.rule}")


def _tell_end(slot: Slot, outcome: Evaluation | None) -> None:
    if outcome is None:
        note(f"  {slot.arm}: lost; its record says why")
        return
    p = outcome.predicate
    loss = "no loss" if p.claims.final_val_loss is None else f"val_loss {p.claims.final_val_loss:.4f}"
    note(f"  {slot.arm}: {p.run.status}: {p.run.reason}; {p.score.verdict}, {loss}")


def _shown_below(found: SeriesFigures) -> bool:
    return found.loss is not None and found.loss.p < 0.01


def _show(found: SeriesFigures, as_json: bool) -> None:
    if as_json:
        emit_json(_document(found))
        return
    from kit.cli.terminal import table

    rows = [
        (
            m.slot.run_id, str(m.slot.arm), _status(m), _number(m.loss, ".4f"),
            _number(m.time.claimed if m.time else None, ".0f"),
            _number(m.time.untimed_overhead if m.time else None, "+.0f"),
        )
        for m in found.members
    ]  # fmt: skip
    note(table(("run", "arm", "ended", "loss", "its clock, ms", "excess, ms"), rows))
    heads = ("arm", "reserved", "with a loss", "reached", "mean time, ms", "95 %")
    arms = [
        (
            str(a.arm), str(a.reserved), str(a.counted), str(a.reached), _number(a.mean_ms, ".0f"),
            "-" if a.low_ms is None or a.high_ms is None else f"{a.low_ms:.0f} .. {a.high_ms:.0f}",
        )
        for a in found.arms
    ]  # fmt: skip
    note("\n" + table(heads, arms))
    note("\n" + _loss(found))
    note(_fsr(found))


def _status(member: Member) -> str:
    return "never started" if member.found is None else str(member.found.predicate.run.status)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _loss(found: SeriesFigures) -> str:
    if found.loss is None:
        return f"mean loss: not stated, since not every run ended with a loss (target {found.target:g})"
    p = "needs two runs" if found.loss.p != found.loss.p else f"{found.loss.p:.4f}"
    return f"mean loss {found.loss.mean:.4f} of {found.loss.runs} runs; p against {found.target:g}: {p}"


def _fsr(found: SeriesFigures) -> str:
    if found.ratio is None:
        return "FSR: not stated; it needs two timed runs of each arm (--interleave)"
    if found.unresolved:
        return "FSR: unresolved; start and target cannot be told apart on this machine"
    r = found.ratio
    said = f"FSR {r.estimate:.3f}, 95 % {r.low:.3f} .. {r.high:.3f} (Fieller)"
    if _shown_below(found):
        return said
    return f"{said}; of the times alone: the mean loss is not shown to be below the target"


def _document(found: SeriesFigures) -> dict[str, Any]:
    ended = found.body.ended
    loss, ratio = found.loss, found.ratio
    return {
        "series": found.body.plan.id,
        "trusted": found.trusted,
        "rule": found.body.plan.rule,
        "ended": ended.reason if ended else None,
        "runs": [
            {
                "run_id": m.slot.run_id, "arm": m.slot.arm, "ended": _status(m), "loss": m.loss,
                "time_ms": m.time_ms, "excess_ms": m.time.untimed_overhead if m.time else None,
            }
            for m in found.members
        ],
        "arms": [
            {
                "arm": a.arm, "reserved": a.reserved, "with_loss": a.counted, "reached": a.reached,
                "mean_ms": a.mean_ms, "interval_ms": [a.low_ms, a.high_ms],
            }
            for a in found.arms
        ],
        "target": found.target if found.target == found.target else None,
        "loss": None if loss is None else {
            "mean": loss.mean, "runs": loss.runs, "p": None if loss.p != loss.p else loss.p,
        },
        "fsr": None if ratio is None or not ratio.resolved else {
            "estimate": ratio.estimate, "low": ratio.low, "high": ratio.high,
        },
        "unresolved": found.unresolved,
    }  # fmt: skip

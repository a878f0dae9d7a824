"""`speedrun session show`: evaluations, tries, budget, staircase and the curve of a session."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.agent.curve import steps_of
from kit.agent.journal import LOCK
from kit.cli.extras import require_score
from kit.cli.session.parts import json_option
from kit.cli.session.score import retimed_text, score_document, score_text
from kit.cli.terminal import emit_json, say, say_document, say_path, table
from kit.core.files import write_atomic
from kit.core.locks import held

if TYPE_CHECKING:
    from kit.agent.series_score import SeriesScore
    from kit.session.recorded import RecordedSession

SHOWN = ("gpu-hours", "wall-hours", "evaluations")


@click.command("show")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--csv", "as_csv", is_flag=True, help="Print the curve and the staircase as CSV.")
@click.option(
    "--by", type=click.Choice(SHOWN), default=SHOWN[0], show_default=True, help="Axis of the image."
)
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Write the curve as an image.")
@json_option
def command(folder: Path, as_csv: bool, by: str, svg: Path | None, as_json: bool) -> int:
    """
    Show a session: evaluations, tries, the budget, the curve.

    The curve is the best recovered progress so far against the GPU-hours spent, with those of tries. 0 is the
    time of the start script and 1 that of the target, or of the horizon; records between them are levels.
    Works while the session goes on. Only the journal's chain is checked: see `session verify`.

    \b
    Examples:
      speedrun session show my-session
      speedrun session show my-session --csv
      speedrun session show my-session --svg curve.svg
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json cannot be used together")
    require_score()
    from kit.session.recorded import curve_csv, read_session

    session = read_session(folder)
    if svg is not None:
        write_atomic(svg, _image(session, by).encode())
    if as_json:
        emit_json(_document(folder, session))
    elif as_csv:
        say_document(curve_csv(session))
    elif svg is not None:
        say_path(svg)
    else:
        say(*_lines(folder, session))
    return 0


def _image(session: RecordedSession, by: str) -> str:
    from kit.session.image import draw_progress
    from kit.session.recorded import SESSION_AXES

    axis = next(axis for axis in SESSION_AXES if axis.name == by)
    spec, horizon = session.run.spec, session.horizon
    to = f" to record {horizon.record}" if horizon else ""
    title = f"Recovered progress: task {spec.task}{to}, {spec.model.name}"
    return draw_progress(session.points, axis, title, horizon)


def _lines(folder: Path, session: RecordedSession) -> list[str]:
    from kit.session.recorded import SESSION_AXES
    from kit.session.texts import budget_text, node_line, try_line

    run = session.run
    horizon = "" if session.horizon is None else f", horizon: record {session.horizon.record}"
    refused = sum(call.refused is not None for call in session.calls)
    lines = [
        f"session    {folder}",
        f"task       {run.spec.task}{horizon}; agent: {run.spec.model.name}",
        f"state      {_state(folder, session)}",
        f"calls      {len(session.calls)}, {refused} refused, {len(session.refused)} refused by the budget",
        *budget_text(run.spec.budget, run.spent).splitlines(),
        "",
        *(node_line(node) for node in run.tree.nodes),
        *(try_line(*pair) for pair in session.tries),
    ]
    if (again := retimed_text(run.retimed, with_runs=False)) is not None:
        lines.append(f"winner {again}")
    if (score := _score(session)) is not None:
        lines.append(score_text(score))
    findings = _findings(session)
    if findings:
        lines += ["", "Findings of the audits, for a person to judge:", *findings]
    if session.horizon is not None:
        lines += ["", *_staircase(session)]
    axis = SESSION_AXES[0]
    if steps_of(session.points, axis):
        rows = [(f"{axis.at(p.spent):.3f}", f"{p.best:.3f}", str(p.node)) for p in session.points]
        lines += ["", *table(("GPU-hours", "best", "evaluation"), rows, 2)]
    return lines


def _score(session: RecordedSession) -> SeriesScore | None:
    """Return the score of the winner's series; its signatures are checked, but not whose they are."""
    from kit.core.facts import facts_root
    from kit.result.keys import Trusted
    from kit.session.recorded import score_of

    if session.run.retimed is None:
        return None
    return score_of(session.run.folder, session.run.retimed, Trusted(()), facts_root() / "records")


def _findings(session: RecordedSession) -> list[str]:
    from kit.agent.nodefiles import NodeFiles
    from kit.core.errors import KitError

    lines = []
    for node in session.run.tree.nodes:
        if node.evaluation is not None:
            with contextlib.suppress(KitError, OSError):
                shown = NodeFiles(session.run.folder, node.id).read_evaluated(node.evaluation)
                lines += [f"evaluation {node.id}: {text}" for text in shown.findings]
    return lines


def _staircase(session: RecordedSession) -> list[str]:
    from kit.agent.horizon import staircase

    assert session.horizon is not None  # noqa: S101 - the caller looks
    steps = staircase(session.horizon, session.run.spec)
    if not steps:
        again = "speedrun session end DIR --retime N --interleave"
        return [f"no score before the end: start and horizon have no times here; see: {again}"]
    winner = session.run.tree.winner()
    best = 0.0 if winner is None else session.points[-1].best if session.points else 0.0
    rows = [
        (f"{s['recovered']:.3f}", f"{s['time_ms'] / 1000:.3f}", s["record"],
         "passed" if best >= s["recovered"] > 0 else "")
        for s in steps
    ]  # fmt: skip
    return table(("recovered", "seconds", "record", ""), rows, 2)


def _state(folder: Path, session: RecordedSession) -> str:
    if session.run.tree.ended is not None:
        return "ended"
    with contextlib.suppress(OSError):
        if held(folder / LOCK) is True:
            return "being served"
    return "open"


def _document(folder: Path, session: RecordedSession) -> dict[str, Any]:
    from kit.session.recorded import SESSION_AXES
    from kit.session.texts import budget_rows, node_values, try_values

    run = session.run
    return {
        "path": str(folder),
        "task": run.spec.task,
        "agent": run.spec.model.name,
        "horizon": None if session.horizon is None else session.horizon.record,
        "state": _state(folder, session),
        "winner": run.tree.winner(),
        "budget": budget_rows(run.spec.budget, run.spent),
        "spent": run.spent.charged.document(),
        "calls": len(session.calls),
        "evaluations": [node_values(node) for node in run.tree.nodes],
        "tries": [try_values(*pair) for pair in session.tries],
        "findings": _findings(session),
        "retimed_series": None if run.retimed is None else run.retimed.series,
        "series": None if (score := _score(session)) is None else score_document(score),
        "curve": [
            {"evaluation": p.node, "best": p.best, "recovered": p.fsr,
             **{axis.name: axis.at(p.spent) for axis in SESSION_AXES}}
            for p in session.points
        ],
        "staircase": [{"record": s.record, "recovered": s.share}
                      for s in (session.horizon.steps if session.horizon else ())],
    }  # fmt: skip

"""`speedrun agent show`: show a run, finished or not."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from kit.agent.chain import is_chain, read_chain, read_chain_spec
from kit.agent.curve import AXES, CurvePoint, curve_of, nothing_spent
from kit.agent.journal import LOCK
from kit.agent.outline import NodeDetails, branches, view_of
from kit.agent.policy import SESSION
from kit.agent.recorded import NodeAccount, RecordedRun, read_run
from kit.agent.spec import run_id
from kit.agent.summary import SummaryNode, SummaryTotals, node_summary
from kit.agent.svg import draw_curve
from kit.cli.agent.cumulative import chain_document, chain_lines
from kit.cli.agent.run_text import curve_lines, head_lines, node_lines, tree_lines
from kit.cli.terminal import emit_json, note, say, say_path
from kit.core.codec import encode
from kit.core.errors import PrerequisiteError
from kit.core.files import write_atomic
from kit.core.locks import held
from kit.core.text import counted, in_shell


@click.command("show")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--node", type=click.IntRange(min=1), help="Show one node: calls, feedback, diff.")
@click.option("--curve", is_flag=True, help="Show the best FSR so far after each node.")
@click.option(
    "--by",
    type=click.Choice([axis.name for axis in AXES]),
    default=AXES[0].name,
    show_default=True,
    help="What the curve is drawn against.",
)
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Write the curve as an image.")
@click.option("--json", "as_json", is_flag=True, help="Print the run, or the node, as JSON.")
def command(folder: Path, node: int | None, curve: bool, by: str, svg: Path | None, as_json: bool) -> None:
    """Show a run: its tree, one node, or the best FSR so far.

    Works while the run goes on, and after an interruption. The fastest valid node is marked with `*`; a node
    is indented below its parent. FSR is 0 at the start script's time and 1 at the target's. In the image, a
    triangle marks an FSR outside the scale, which ends at -1 and 3. Only the journal's chain is checked: see
    `agent verify`. For a cumulative run, the stages are listed; only --json applies.

    \b
    Examples:
      speedrun agent show agent-runs/<id>
      speedrun agent show agent-runs/<id> --node 3
      speedrun agent show agent-runs/<id> --curve --by gpu-hours --svg curve.svg
    """
    if node is not None and curve:
        raise click.UsageError("--node and --curve cannot be used together")
    if is_chain(folder):
        _show_chain(folder, as_json)
        return
    run = read_run(folder)
    if node is not None and node > len(run.tree.nodes):
        raise PrerequisiteError(
            f"{folder} has no node {node}: the run has {counted(len(run.tree.nodes), 'node')}",
            f"list them: speedrun agent show {in_shell(folder)}",
        )
    points = curve_of(run)
    axis = next(axis for axis in AXES if axis.name == by)
    missing = nothing_spent(points, axis)
    if svg is not None:
        title = f"Best FSR so far: task {run.spec.task}, {run.spec.policy.name}, {run.spec.model.name}"
        write_atomic(svg, draw_curve(points, axis, title).encode())
    if as_json:
        emit_json(_node_document(view_of(run, node)) if node is not None else _document(run, points))
        return
    if node is not None:
        say(*node_lines(view_of(run, node), folder))
    elif curve:
        say(*([missing] if missing else curve_lines(points, axis)))
    elif svg is None:
        say(*head_lines(run, _is_running(folder)), "", *tree_lines(run))
        if run.tree.ended is None and not _is_running(folder):
            session = run.spec.policy.name == SESSION
            next_step = ("session", "serve", folder, "--stdio") if session else ("agent", "resume", folder)
            note(f"hint: speedrun {in_shell(*next_step)}")
    if svg is not None:
        if missing and not curve:
            note(missing)
        say_path(svg)


def _show_chain(folder: Path, as_json: bool) -> None:
    spec = read_chain_spec(folder)
    chain = read_chain(folder, spec)
    if as_json:
        emit_json(chain_document(folder, chain))
        return
    say(*chain_lines(spec, chain))
    if chain.end is None:
        note(f"hint: speedrun agent resume {in_shell(folder)}")


def _is_running(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return held(folder / LOCK) is True
    return False


def _document(run: RecordedRun, points: tuple[CurvePoint, ...]) -> dict[str, Any]:
    tree = run.tree
    totals = SummaryTotals(run.spent.known, run.spent.unknown, run.account())
    return {
        "path": str(run.folder),
        "run": run_id(run.spec),
        "task": str(run.spec.task),
        "scaffold": run.spec.policy.name,
        "model": run.spec.model.name,
        "hints": list(run.spec.hints),
        "seed": run.spec.seed,
        "state": "ended" if tree.ended else "running" if _is_running(run.folder) else "interrupted",
        "end": tree.ended.reason.value if tree.ended else None,
        "stopped_by": tree.stopped.limit.value if tree.stopped else None,
        "winner": tree.winner(),
        "nodes": [
            {**encode(SummaryNode, node_summary(run, branch.node)), "depth": branch.depth}
            for branch in branches(run)
        ],
        "totals": encode(SummaryTotals, totals),
        "curve": [
            {"node": p.node, "fsr": p.fsr, "best": p.best, **{a.name: a.at(p.spent) for a in AXES}}
            for p in points
        ],
    }


def _node_document(view: NodeDetails) -> dict[str, Any]:
    return {
        "node": view.node.id,
        "action": view.node.action.kind.value,
        "parent": view.node.action.parent,
        "status": None if view.node.status is None else view.node.status.value,
        "reason": view.node.reason,
        "children": list(view.children),
        "account": encode(NodeAccount, view.account),
        "calls": [
            {
                "call": call.ended.call,
                "fault": call.ended.fault.value if call.ended.fault else None,
                "cost_usd": call.ended.cost_usd,
                "applied": call.edited.applied if call.edited else None,
                "reason": call.edited.reason if call.edited else None,
            }
            for call in view.calls
        ],
        "feedback": view.feedback,
        "diff": view.diff,
    }

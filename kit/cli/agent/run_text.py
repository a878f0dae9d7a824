"""Lay out a run for the terminal: its head, its tree, one node, the curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path

from kit.agent.budget import Amounts
from kit.agent.curve import CurveAxis, CurvePoint
from kit.agent.evaluation import GUEST_LOG
from kit.agent.node import Node
from kit.agent.outline import NodeDetails, branches
from kit.agent.recorded import BUNDLES, RecordedRun, status_word
from kit.agent.spec import run_id
from kit.cli.terminal import table
from kit.core.text import counted, one_line

NONE = "-"
HEADS = ("node", "action", "status", "time", "loss", "fsr", "reason")
BAR = 40
"""Characters of the longest bar."""
MAX_LINES = 400
"""Lines of a diff or a message that are shown; the files have all."""


def head_lines(run: RecordedRun, running: bool) -> list[str]:
    """Return what the run is, how far it is and what it spent."""
    spec, tree = run.spec, run.tree
    hints = f"hints {','.join(map(str, spec.hints))}" if spec.hints else "no hints"
    lines = [
        f"run {run_id(spec)}: task {spec.task}, {spec.policy.name}, {spec.model.name}, {hints}, "
        f"seed {spec.seed}",
        f"{_state(run, running)}; {counted(len(tree.searched), 'node')} of at most {spec.policy.max_nodes}",
        f"spent: {_amounts(run.spent.known)}",
    ]
    unknown = run.spent.unknown
    if unknown != Amounts():
        lines.append(f"and at most, not reported: {_amounts(unknown)}")
    winner = tree.winner()
    if winner is not None:
        lines.append(f"best: node {winner}, {_time(tree.node(winner))}, fsr {_fsr(tree.node(winner))}")
    if (again := run.retimed) is not None:
        sd = NONE if again.sd_ms is None else f"{again.sd_ms / 1000:.3f} s"
        fsr = NONE if again.fsr is None else f"{again.fsr:.3f}"
        mean = NONE if again.mean_ms is None else f"{again.mean_ms / 1000:.3f} s"
        lines.append(
            f"re-timed: node {again.node}, {again.reached} of {counted(again.runs, 'run')} valid, "
            f"mean {mean}, sd {sd}, fsr {fsr}"
        )
    return [one_line(line, 400) for line in lines]


def tree_lines(run: RecordedRun) -> list[str]:
    """Return the tree as a table; a node is indented below its parent."""
    winner = run.tree.winner()
    rows = []
    for branch in branches(run):
        node = branch.node
        mark = " *" if node.id == winner else ""
        rows.append(
            (
                f"{'  ' * min(branch.depth, 20)}{node.id}{mark}",
                node.action.kind.value,
                status_word(node),
                _time(node),
                _loss(node),
                _fsr(node),
                one_line(node.reason, 60),
            )
        )
    return table(HEADS, rows) if rows else ["no node yet"]


def node_lines(view: NodeDetails, folder: Path) -> Iterator[str]:
    """Yield everything about one node of the run in `folder`."""
    node, account = view.node, view.account
    parent = "the start script" if node.action.parent == 0 else f"node {node.action.parent}"
    yield f"node {node.id}: {node.action.kind.value} of {parent}, {status_word(node)}"
    if node.reason:
        yield f"reason: {one_line(node.reason, 400)}"
    yield f"time {_time(node)}, loss {_loss(node)}, fsr {_fsr(node)}"
    if node.evaluation is not None:
        run = one_line(node.evaluation.run_id)
        yield f"bundle: {run}, sha256 {node.evaluation.bundle_sha256[:16]}"
        log = folder / BUNDLES / run / GUEST_LOG
        if log.is_file():
            yield f"output: {log}"
    if view.children:
        yield f"children: {', '.join(map(str, view.children))}"
    cost = "cost unknown" if account.cost_usd is None else f"{account.cost_usd:.4f} USD"
    yield (
        f"calls: {account.calls} in {counted(account.requests, 'request')}, "
        f"prompt {_count(account.tokens.prompt_tokens)}, output {_count(account.tokens.completion_tokens)} "
        f"tokens, {cost}, {account.latency_s:.1f} s and {account.waited_s:.1f} s of waiting"
    )
    for call in view.calls:
        fault = f", {call.ended.fault.value}" if call.ended.fault else ""
        edit = ""
        if call.edited is not None:
            word = "edit applied" if call.edited.applied else "edit refused"
            edit = f", {word}: {one_line(call.edited.reason, 200)}"
        yield f"  call {call.ended.call}: {one_line(call.ended.answered_model or 'no answer')}{fault}{edit}"
    yield from _block("last message to the model", view.feedback)
    yield from _block("diff", view.diff)


def curve_lines(points: Sequence[CurvePoint], axis: CurveAxis) -> list[str]:
    """Return one bar for each node: the best FSR so far, from 0 to 1, or to the highest FSR above 1."""
    top = max([1.0, *(point.best for point in points if isfinite(point.best))])
    heads = ("node", axis.title, "best fsr", f"from 0 to {top:.3g}")
    rows = []
    for point in points:
        bar = "#" * round(BAR * min(max(point.best, 0.0), top) / top)
        rows.append((str(point.node), f"{axis.at(point.spent):.4g}", f"{point.best:.3f}", bar))
    return table(heads, rows, right=3) if rows else ["no node has ended yet"]


def _block(title: str, text: str) -> Iterator[str]:
    if not text:
        return
    lines = text.splitlines()
    yield f"--- {title}"
    yield from lines[:MAX_LINES]
    if len(lines) > MAX_LINES:
        yield f"... {len(lines) - MAX_LINES} more lines"


def _state(run: RecordedRun, running: bool) -> str:
    tree = run.tree
    if tree.ended is not None:
        if tree.stopped is None:
            return "ended: the search is complete"
        return f"ended: the budget's {tree.stopped.limit.value} of {tree.stopped.allowed:g} is spent"
    return "running" if running else "interrupted"


def _amounts(amounts: Amounts) -> str:
    tokens = f"{amounts.prompt_tokens:,} + {amounts.completion_tokens:,} tokens"
    hours = f"{amounts.gpu_seconds / 3600:.2f} GPU-hours, {amounts.wall_s / 3600:.2f} hours"
    return f"{tokens}, {amounts.usd:.4f} USD, {hours}"


def _time(node: Node) -> str:
    time = node.evaluation.time_ms if node.evaluation is not None else None
    return NONE if time is None else f"{time / 1000:.3f} s"


def _loss(node: Node) -> str:
    loss = node.evaluation.val_loss if node.evaluation is not None else None
    return NONE if loss is None else f"{loss:.4f}"


def _fsr(node: Node) -> str:
    fsr = node.evaluation.fsr if node.evaluation is not None else None
    return NONE if fsr is None else f"{fsr:.3f}"


def _count(tokens: int | None) -> str:
    return "unknown" if tokens is None else f"{tokens:,}"

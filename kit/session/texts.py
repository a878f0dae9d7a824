"""What the tools of a session tell an agent: brief, history, tries, evaluations and the budget, as text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kit.agent.budget import Budget, BudgetLimit, Spent
from kit.agent.feedback import mark
from kit.agent.horizon import horizon_of, horizon_text
from kit.agent.node import Node
from kit.agent.own_task import OwnTask
from kit.agent.spec import AgentSpec, spec_sha256
from kit.agent.tool_events import TryEnded, TryLost, TryReserved
from kit.core.text import one_line, printable
from kit.session.logs import open_log, try_log

MAX_LOG = 20_000
"""Characters of a log that one call returns."""
_LOG_BYTES = 1 << 18
_LINE = 400
_ENDED = "Received 15 death signal, shutting down workers"
"""The first line that torchrun prints when the host ends it: what follows is not the script's."""
_UNITS = {BudgetLimit.GPU_SECONDS: (3600.0, "GPU-hours"), BudgetLimit.WALL_S: (3600.0, "hours of wall time")}

HOW = """# This session

You work through tools. The workspace is the submission: `list`, `read`, `write` and `delete` its files.

* `check` finds faults without running anything. It costs nothing.
* `try` runs the workspace in a container up to a bound. It returns the end of its log and the host's times,
  and no score.
* `evaluate` runs the whole task, audits it and signs the result. The fastest valid evaluation wins.
* The workspace has at most 64 files with 1 MiB in all.
* `budget` shows what is left. A call that the budget cannot hold is refused and costs nothing. The session
  goes on.
* `history` lists all evaluations and tries, and shows one of them again if its answer was lost.

Times are the host's; what a script prints about itself is a claim. The audits' findings decide whether a run
counts, and a person reads them. After the session the winner runs again in a fresh series, with audits that
use other validation text. Its time there is the result.

The text below is the task as an agent without a session gets it. Its commands and pages do not exist here:
use the tools. Where it says something else about scores, limits or files, this text holds.
"""


def brief_text(task: OwnTask, spec: AgentSpec) -> str:
    """Return the task, its hints, and how the session works."""
    horizon = horizon_of(spec)
    parts = [HOW.rstrip("\n"), task.briefing.rstrip("\n")]
    if horizon is not None:
        parts.insert(1, horizon_text(horizon, spec.evaluation.start_ms, spec.evaluation.target_ms))
    return "\n\n".join(parts) + "\n"


def budget_rows(budget: Budget, spent: Spent) -> list[dict[str, Any]]:
    """Return one object for each limit: what is allowed, charged and left, in the limit's own unit."""
    rows = []
    for limit in BudgetLimit:
        allowed = getattr(budget, limit.value)
        if allowed is not None:
            charged = spent.charged.of(limit)
            left = max(0.0, allowed - charged)
            rows.append({"limit": limit.value, "allowed": allowed, "charged": charged, "left": left})
    return rows


def budget_text(budget: Budget, spent: Spent) -> str:
    """Return the budget for an agent."""
    lines = []
    for row in budget_rows(budget, spent):
        unit, name = _UNITS.get(BudgetLimit(row["limit"]), (1.0, row["limit"]))
        lines.append(
            f"{name}: {row['left'] / unit:.3f} left of {row['allowed'] / unit:g}; "
            f"{row['charged'] / unit:.3f} charged"
        )
    worst = spent.unknown
    if worst.gpu_seconds or worst.wall_s or worst.evaluations:
        lines.append("Interrupted runs are charged at their worst case.")
    return "\n".join(lines) or "This session has no limit."


def node_line(node: Node) -> str:
    """Return an evaluation in one line."""
    outcome = node.evaluation
    time = "" if outcome is None or outcome.time_ms is None else f", {outcome.time_ms / 1000:.3f} s"
    score = "" if outcome is None or outcome.fsr is None else f", recovered {outcome.fsr:.3f}"
    reason = f": {one_line(node.reason)}" if node.reason else ""
    return f"evaluation {node.id}: {node.status.value if node.status else 'running'}{time}{score}{reason}"


def node_values(node: Node) -> dict[str, Any]:
    """Return an evaluation as values."""
    outcome = node.evaluation
    return {
        "evaluation": node.id,
        "parent": node.action.parent,
        "status": None if node.status is None else node.status.value,
        "valid": node.status is not None and node.status.valid,
        "reason": node.reason,
        "val_loss": None if outcome is None else outcome.val_loss,
        "time_ms": None if outcome is None else outcome.time_ms,
        "recovered": None if outcome is None else outcome.fsr,
        "gpu_seconds": None if outcome is None else outcome.gpu_seconds,
        "run_id": None if outcome is None else outcome.run_id,
    }


def try_line(reserved: TryReserved, ended: TryEnded | TryLost | None) -> str:
    """Return a try in one line."""
    bound = f"{reserved.seconds:g} s" if reserved.steps is None else f"step {reserved.steps}"
    head = f"try {reserved.trial} (to {bound}, GPUs: {reserved.gpus or 'none'})"
    if ended is None:
        return f"{head}: running"
    if isinstance(ended, TryLost):
        return f"{head}: interrupted with its server, charged at its worst case"
    step = "no step" if ended.step is None else f"last step {ended.step}"
    pace = "" if ended.step_ms is None else f", {ended.step_ms:.1f} ms a step"
    return f"{head}: {ended.status.value}: {ended.reason}; {step} in {ended.wall_s:.1f} s{pace}"


def try_values(reserved: TryReserved, ended: TryEnded | TryLost | None) -> dict[str, Any]:
    """Return a try as values; times are the host's."""
    done = ended if isinstance(ended, TryEnded) else None
    lost = "lost" if isinstance(ended, TryLost) else "running"
    return {
        "try": reserved.trial,
        "status": lost if done is None else done.status.value,
        "reason": None if done is None else done.reason,
        "step": None if done is None else done.step,
        "first_line_s": None if done is None else done.first_line_s,
        "step_ms": None if done is None else done.step_ms,
        "wall_s": None if done is None else done.wall_s,
        "gpu_seconds": None if done is None else done.gpu_seconds,
    }


def log_text(spec: AgentSpec, folder: Path, trial: int, lines: int) -> str:
    """Return the last lines of a try's log below `folder`, between marks that the script cannot know."""
    secret = mark(spec_sha256(spec), -trial)
    shown = [
        printable(line[:_LINE]).replace(secret, "") for line in _last_lines(folder, try_log(trial), lines)
    ]
    text = "\n".join(shown)[-MAX_LOG:]
    return f"Last lines of what the script printed:\nBEGIN {secret}\n{text}\nEND {secret}"


def _last_lines(folder: Path, log: str, count: int) -> Iterable[str]:
    try:
        with open_log(folder, log) as f:
            f.seek(max(0, f.seek(0, 2) - _LOG_BYTES))
            lines = f.read(_LOG_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return ()
    ended = next((i for i, line in enumerate(lines) if _ENDED in line), len(lines))
    return lines[:ended][-count:]

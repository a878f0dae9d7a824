"""A task as one JSON object."""

from __future__ import annotations

from typing import Any

from kit.benchmark.tasks import Task
from kit.values.task_id import listed_as, set_of


def document(task: Task) -> dict[str, Any]:
    """Return a task as a JSON object; later tasks have more fields."""
    step = task.start.transition
    later = (
        {}
        if step is None
        else {
            "kind": step.kind,
            "recommended": step.recommended,
            "torch_differs": step.torch_differs,
            "runs_for_time": task.runs_for_time,
            "runs_for_loss": step.runs_for_loss,
        }
    )
    return {
        "task": listed_as(task.name),
        "target": listed_as(task.target.name),
        "start_retimed_ms": task.start.retimed_ms,
        "target_retimed_ms": task.target.retimed_ms,
        "gap_ms": _whole(task.gap_ms),
        "noise": task.noise,
        "era": task.start.era,
        "title": task.target.title,
        "set": set_of(task.name),
        "target_date": task.target.date,
        **later,
    }


def _whole(ms: float) -> int | float:
    """Return milliseconds without the noise of floating-point subtraction."""
    ms = round(ms, 6)
    return int(ms) if ms.is_integer() else ms

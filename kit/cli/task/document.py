"""A task as one JSON object."""

from __future__ import annotations

from typing import Any

from kit.benchmark.tasks import Task
from kit.values.task_id import listed_as


def document(task: Task) -> dict[str, Any]:
    """Return a task as a JSON object."""
    return {
        "task": listed_as(task.name),
        "target": listed_as(task.target.name),
        "start_retimed_ms": task.start.retimed_ms,
        "target_retimed_ms": task.target.retimed_ms,
        "gap_ms": int(task.gap_ms) if task.gap_ms.is_integer() else task.gap_ms,
        "noise": task.noise,
        "era": task.start.era,
        "title": task.target.title,
    }

"""Tasks: a start record to improve and a target record to reach."""

from __future__ import annotations

from kit.benchmark.tasks.export import TaskHandout, export
from kit.benchmark.tasks.task import Task, load_smoke_tasks, load_task, load_tasks

__all__ = ["Task", "TaskHandout", "export", "load_smoke_tasks", "load_task", "load_tasks"]

"""Tasks: a start record to improve and a target record to reach."""

from __future__ import annotations

from kit.benchmark.tasks.export import TaskHandout, export, task_text, write_writable
from kit.benchmark.tasks.smoke_handout import SmokeTerms, smoke_handout
from kit.benchmark.tasks.task import Task, TaskSet, load_smoke_tasks, load_task, load_tasks

__all__ = [
    "SmokeTerms",
    "Task",
    "TaskHandout",
    "TaskSet",
    "export",
    "load_smoke_tasks",
    "load_task",
    "load_tasks",
    "smoke_handout",
    "task_text",
    "write_writable",
]

"""Upgrade predicates of version 0.1: missing fields get the values that version 0.1 always used."""

from __future__ import annotations

from typing import Any

from kit.values.task_id import PAPER_SET

ENTRY = "train_gpt2.py"
NO_LINES = {"expected": None, "seen": 0}


def upgraded(body: dict[str, Any]) -> dict[str, Any]:
    """
    Convert a valid v1 predicate to a v2 predicate; `body` is not changed.

    Version 0.1 had only the paper's tasks, one entry file, cold caches, no held-out text, and the first tier
    rules. Raises `KeyError` or `TypeError` for a predicate that violates the schema.
    """
    run, task = dict(body["run"]), dict(body["task"])
    following = task.pop("next_record")
    audit = {**body["audit"], "tier_rules": 1}
    lines = {"guest_clock": body["claims"]["grammar"] == "step"}
    lines |= {"training_lines": NO_LINES, "validation_lines": NO_LINES}
    task |= {
        "id": str(task.pop("record")),
        "set": PAPER_SET,
        "profile": run.pop("profile"),
        "target": None if following is None else str(following),
    }
    run |= {"entry": ENTRY, "compile_cache": "cold"}
    inputs = {**body["inputs"], "held_out": None}
    changed = {"run": run, "task": task, "audit": audit, "inputs": inputs, "evidence": lines}
    return {**body, **changed}

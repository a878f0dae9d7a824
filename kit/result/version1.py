"""Predicates of version 0.1 in today's form: what they do not say is filled with what was always so then."""

from __future__ import annotations

from typing import Any

from kit.values.task_id import PAPER_SET

ENTRY = "train_gpt2.py"
NO_LINES = {"expected": None, "seen": 0}


def upgraded(body: dict[str, Any]) -> dict[str, Any]:
    """
    Return a v1 predicate, valid by its schema, as a v2 predicate; `body` is not changed.

    Version 0.1 had the paper's tasks alone, one entry file, cold caches, no text held out from other shards,
    and the first rules for tiers. Raises `KeyError` or `TypeError` for what the schema would refuse.
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

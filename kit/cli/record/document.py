"""A record as one JSON object."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from kit.benchmark.records import Record
from kit.values.task_id import listed_as


def document(record: Record) -> dict[str, Any]:
    """Return a record as a JSON object; `number`, `next_record` and `script.origin` keep their 0.1 form."""
    values = asdict(record)
    following = None if record.target is None else listed_as(record.target)
    origins = values["script"]["origins"]
    script = {**values["script"], "origin": origins[0] if origins else None}
    old = {"number": listed_as(record.name), "next_record": following, "script": script}
    return {**values, **old, "target_val_loss": record.target_val_loss}

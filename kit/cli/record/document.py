"""A record as one JSON object."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from kit.benchmark.records import Record


def document(record: Record) -> dict[str, Any]:
    """Return a record as a JSON object."""
    return {**asdict(record), "target_val_loss": record.target_val_loss}

"""Read from `records/evidence.toml` which lines the records' scripts print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit.core.errors import SchemaError
from kit.core.facts import facts_root
from kit.core.schema import read_toml
from kit.values.cadence import Cadence

FILE = "evidence.toml"


def cadence_of(records: Path, name: str) -> Cadence:
    """Return the cadence of a record's script. Raises `SchemaError` if the file has no entry for it."""
    own = records / FILE
    # a capsule contains only its record's file: trust this kit for the printed lines, not the packer
    document = read_toml(own if own.is_file() else facts_root() / "records" / FILE, "evidence.v1")
    for script in document["scripts"]:
        if name in script["records"]:
            return _cadence(script)
    raise SchemaError(
        f"{records / FILE}: no entry for record {name}", "add the record to a [[scripts]] table of that file"
    )


def smoke_cadence(records: Path) -> Cadence:
    """Return the cadence of the smoke trainer."""
    return _cadence(read_toml(records / FILE, "evidence.v1")["smoke"])


def _cadence(d: dict[str, Any]) -> Cadence:
    return Cadence(d.get("training_every"), d["validation_every"], d["validates_start"], d["guest_clock"])

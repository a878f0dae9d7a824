"""The lines that the scripts of records print, from `records/evidence.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit.core.errors import SchemaError
from kit.core.facts import facts_root
from kit.core.schema import read_toml
from kit.values.cadence import Cadence

FILE = "evidence.toml"


def cadence_of(records: Path, name: str) -> Cadence:
    """Return the cadence of a record's script. Raises `SchemaError` if the file does not say it."""
    own = records / FILE
    # a capsule carries its record alone: what its script prints is this kit's to say, not the packer's
    document = read_toml(own if own.is_file() else facts_root() / "records" / FILE, "evidence.v1")
    for script in document["scripts"]:
        if name in script["records"]:
            return _cadence(script)
    raise SchemaError(f"{records / FILE}: nothing about record {name}", "add its script's lines to the file")


def smoke_cadence(records: Path) -> Cadence:
    """Return the cadence of the smoke trainer."""
    return _cadence(read_toml(records / FILE, "evidence.v1")["smoke"])


def _cadence(d: dict[str, Any]) -> Cadence:
    return Cadence(d.get("training_every"), d["validation_every"], d["validates_start"], d["guest_clock"])

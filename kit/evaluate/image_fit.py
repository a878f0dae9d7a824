"""Tell which records' scripts were written for another image than the one that they are to run in."""

from __future__ import annotations

from collections.abc import Iterable

from kit.audit.needs import missing_modules, start_code
from kit.audit.parsing import parse_files
from kit.benchmark import records
from kit.benchmark.records import Record
from kit.core.errors import PrerequisiteError
from kit.evaluate.request import HOST_IMAGE, Places
from kit.evaluate.start_script import RecordScript
from kit.evaluate.terms import SMOKE_ERA
from kit.values.era_modules import modules_of

SHOWN = 3
"""Imports that a refusal shows."""


def written_for_others(names: Iterable[str], image: str, places: Places) -> tuple[Record, ...]:
    """Return the records of another era than `image`, in order; none for the machine's own files."""
    if image == HOST_IMAGE:
        return ()
    return tuple(r for r in (records.load(places.records, name) for name in names) if r.era != image)


def require_imports(name: str, image: str, places: Places, hint: str) -> None:
    """
    Raise `PrerequisiteError` with `hint` if a record's script imports a module that `image` does not have.

    Fetches the script if the store lacks it; raises nothing if it cannot be fetched, or for the machine's own
    files. A script that passes may still fail there: torch may have changed.
    """
    record = records.load(places.records, name)
    files = RecordScript(record).files(places)
    if image == HOST_IMAGE or files is None:
        return
    code = start_code(parse_files(files), record.script.entry)
    needs = missing_modules(code, image != SMOKE_ERA, modules_of(image))
    if needs:
        shown = "; ".join(f"{n.file}:{n.line}: {n.what}" for n in needs[:SHOWN])
        raise PrerequisiteError(
            f"the script of record {name} cannot start in the image {image}, which lacks a module: {shown}; "
            f"it was written for {record.era}",
            hint,
        )

"""Read the runs to score from a CSV table or from verified bundles."""

from __future__ import annotations

import csv
import functools
import io
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kit.benchmark.records import Record, load, own_digest
from kit.core.errors import PrerequisiteError, SchemaError, UsageError
from kit.core.reading import open_file, unreadable
from kit.core.text import counted, is_printable
from kit.result.appraisal.timing import counted_time
from kit.result.appraisal.trust import assess_tier
from kit.result.appraisal.verdict import has_loss
from kit.result.keys import Trusted
from kit.result.predicate import CompileCache, Predicate
from kit.result.verify import VerifiedBundle, open_bundle
from kit.values.profile import Profile
from kit.values.task_id import TASK_ID, is_smoke, listed_as, suggestion

FULL_PROFILE_HINT = "score runs that were made with --profile full"
WARM = CompileCache.WARM.value
COLD_HINT = "score runs that were made with --compile-cache cold"

MAX_TABLE = 64 << 20
MAX_VALUE = 1e12
"""Largest value in a table, in its unit: 30 years in ms. Squares of far larger ones are not finite."""
COLUMNS = ("task", "config", "role", "machine", "run", "val_loss", "train_time_ms", "fsr")
_NEEDS = "required: task, and val_loss with train_time_ms, or fsr; optional: config, role, machine, run"
_FAILED = "leave the cell of a run that failed empty"


class Role(StrEnum):
    """Arm of the comparison that a run belongs to."""

    CANDIDATE = "candidate"
    START = "start"
    """The start record's original script, timed on the same machine or another."""
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class Row:
    """One run. It failed if its time or its loss is None."""

    task: int | str
    """As `kit.values.task_id.listed_as` gives it."""
    config: str
    role: Role
    machine: str
    """Runs with equal values count as runs on the same machine."""
    run: str
    val_loss: float | None
    """Loss of the last validation in nats per token; None if missing."""
    time_ms: float | None
    fsr: float | None
    """FSR from the table; no baseline is applied to it."""
    source: str
    """File and line, for messages."""


def read_table(path: Path) -> tuple[Row, ...]:
    """
    Read a CSV table with a header line; an empty cell is a missing value of a failed run.

    Raises `SchemaError`, with the line number, for unknown, missing or repeated columns, for invalid cells
    and for duplicate runs; `PrerequisiteError` if the file is missing or larger than 64 MiB.
    """
    reader = csv.DictReader(io.StringIO(_text(path), newline=None), strict=True)
    try:
        names = reader.fieldnames or []
        known = len(names) == len(set(names)) and set(names) <= set(COLUMNS)
        scored = "fsr" in names or {"val_loss", "train_time_ms"} <= set(names)
        if not known or "task" not in names or not scored:
            raise SchemaError(
                f"{path}: a column is unknown, missing or repeated: {', '.join(map(repr, names)) or 'none'}",
                _NEEDS,
            )
        rows = [_row(cells, f"{path}:{reader.line_num}", n) for n, cells in enumerate(reader, 1)]
    except csv.Error as e:
        raise SchemaError(f"{path}:{reader.reader.line_num}: {e}") from e
    return _unique(rows)


def _text(path: Path) -> str:
    try:
        with open_file(path) as f:
            data = f.read(MAX_TABLE + 1)
    except OSError as e:
        raise unreadable(path, e, "pass the path of a readable CSV file") from e
    if len(data) > MAX_TABLE:
        raise PrerequisiteError(f"{path} is larger than {MAX_TABLE >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise SchemaError(f"{path} is not UTF-8") from e


def _row(cells: dict[str, str | None], where: str, number: int) -> Row:
    def text(name: str, default: str) -> str:
        cell = unicodedata.normalize("NFC", (cells.get(name) or "").strip()) or default
        if not is_printable(cell):
            raise SchemaError(f"{where}: {name} contains an invisible or control character: {cell[:80]!a}")
        return cell

    def value(name: str) -> float | None:
        cell = text(name, "")
        if not cell:
            return None
        try:
            parsed = float(cell)
        except ValueError as e:
            raise SchemaError(f"{where}: {name} is {cell!r}, not a number") from e
        if not math.isfinite(parsed):
            raise SchemaError(f"{where}: {name} is {cell!r}, not a finite number", _FAILED)
        if abs(parsed) > MAX_VALUE:
            raise SchemaError(f"{where}: {name} is {cell[:80]!r}, more than {MAX_VALUE:g} in size")
        if parsed < 0 and name != "fsr":
            raise SchemaError(f"{where}: {name} is {cell!r}, and cannot be negative")
        return parsed

    task = _task(text("task", ""), where)
    try:
        role = Role(text("role", "candidate"))
    except ValueError as e:
        raise SchemaError(f"{where}: {e}", "role must be candidate, start or target") from e
    if None in cells or None in cells.values():
        raise SchemaError(f"{where}: the number of cells differs from the number of columns")
    time_ms = value("train_time_ms")
    if time_ms == 0:
        raise SchemaError(f"{where}: train_time_ms must be positive, not {time_ms}", _FAILED)
    return Row(
        task=task,
        config=text("config", "default"),
        role=role,
        machine=text("machine", ""),
        run=text("run", str(number)),
        val_loss=value("val_loss"),
        time_ms=time_ms,
        fsr=value("fsr"),
        source=where,
    )


def _task(cell: str, where: str) -> int | str:
    if re.fullmatch(r"0*[1-9][0-9]{0,2}", cell, re.ASCII):
        return int(cell)
    if not TASK_ID.fullmatch(cell):
        raise SchemaError(f"{where}: task is {cell[:80]!r}, not the name of a task", suggestion(cell))
    if is_smoke(cell):
        raise SchemaError(f"{where}: task is {cell}: smoke runs have no score", FULL_PROFILE_HINT)
    return cell


def _unique(rows: Sequence[Row]) -> tuple[Row, ...]:
    sources: dict[tuple[object, ...], str] = {}
    for row in rows:
        key = (row.task, row.config, row.role, row.machine, row.run)
        if key in sources:
            raise SchemaError(
                f"{row.source}: duplicate of the run in {sources[key]}",
                "give each run of a task a different number in column run",
            )
        sources[key] = row.source
    return tuple(rows)


def read_bundles(
    paths: Sequence[Path], trusted: Trusted, records: Path
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """
    Verify bundles and return their runs, and notes for the reader.

    A run of a record's original script is an arm of two tasks: the start of one and the target of another.
    Smoke runs and warm runs are verified and left out, with a note. Raises as `open_bundle` does, and
    `UsageError` if there are no others.
    """
    rows: list[Row] = []
    notes: list[str] = []
    left_out: Counter[str] = Counter()
    record_of = functools.cache(lambda number: load(records, number))
    for path in paths:
        bundle = open_bundle(path, trusted)
        kind = _without_score(bundle.predicate)
        if kind is not None and len(paths) > 1:
            left_out[kind] += 1
            continue
        bundle_rows = rows_of(bundle, record_of)
        notes.extend(f"{path}: {text}" for text in _notes_of(bundle, bundle_rows))
        rows.extend(bundle_rows)
    if left_out and left_out.total() == len(paths):
        kinds = " or ".join(f"{kind} runs" for kind in left_out)
        hint = COLD_HINT if list(left_out) == [WARM] else FULL_PROFILE_HINT
        raise UsageError(f"all {len(paths)} runs are {kinds}, which have no score", hint)
    for kind, number in left_out.items():
        notes.append(f"left out {counted(number, f'{kind} run')}: {kind} runs have no score")
    return _unique(rows), tuple(notes)


def _without_score(p: Predicate) -> str | None:
    """Return what kind of run this is, if it is one that has no score."""
    if p.task.profile is not Profile.FULL:
        return p.task.profile.value
    return WARM if p.run.compile_cache is CompileCache.WARM else None


def _notes_of(bundle: VerifiedBundle, rows: Sequence[Row]) -> Iterator[str]:
    """Yield notes about one run; its tier is computed here and not read from the bundle."""
    if not any(row.role is Role.CANDIDATE for row in rows):
        if not bundle.trusted:
            yield "signed by an untrusted key"
        return
    assessment = assess_tier(bundle.predicate, bundle.trusted)
    yield f"tier {assessment.tier}" + (f": {assessment.missing}" if assessment.missing else "")
    time = counted_time(bundle.predicate)
    if time is not None and time.untimed_overhead is None:
        yield "untimed overhead not measured; to measure it, run: speedrun eval --audit baseline"


def rows_of(
    bundle: VerifiedBundle, record_of: Callable[[str | int], Record], config: str = "bundles"
) -> list[Row]:
    """
    Return a verified run's rows: one for a submission, one for each task of a record's original script.

    A run that did not end with a loss, or was refused, has neither loss nor time. A run that missed the
    target has both. The time includes the untimed overhead that an audit measured; a time of 0 or less is
    dropped. Raises `UsageError` for a smoke run and for one with a warm compile cache.
    """
    p = bundle.predicate
    if (kind := _without_score(p)) is not None:
        hint = COLD_HINT if kind == WARM else FULL_PROFILE_HINT
        raise UsageError(f"{bundle.path} is a {kind} run, which has no score", hint)
    record = record_of(p.task.id)
    own = bundle.statement.subjects.submission == own_digest(record)
    roles = [(listed_as(record.name), Role.START if own else Role.CANDIDATE)]
    if own and (before := _start_of(record, record_of)) is not None:
        roles.append((before, Role.TARGET))
    ended = has_loss(p)
    time = counted_time(p)
    counts = ended and time is not None and time.total > 0
    return [
        Row(
            task=task,
            config=config,
            role=role,
            machine=_machine(p),
            run=p.run.id,
            val_loss=p.claims.final_val_loss if ended else None,
            time_ms=time.total if counts and time else None,
            fsr=None,
            source=str(bundle.path),
        )
        for task, role in roles
        if record_of(task).no_task is None
    ]


def _start_of(record: Record, record_of: Callable[[str | int], Record]) -> int | str | None:
    """Return the record that aims at this one; None if this version of speedrun does not have it."""
    number = record.number - 1
    for name in (number, f"{number}b", f"{number}c") if number >= 1 else ():
        try:
            before = record_of(name)
        except UsageError:
            continue
        if before.target == record.name:
            return listed_as(before.name)
    return None


def _machine(p: Predicate) -> str:
    gpus = ", ".join(sorted(g.name for g in p.hardware.gpus)) or "no GPU"
    return (
        f"{p.hardware.cpu.model}, {p.hardware.cpu.cores} cores; {gpus}; driver {p.hardware.driver or 'none'}"
    )

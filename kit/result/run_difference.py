"""
Compare two results: every signed field that differs, and the text of the submissions' files.

Ids, times of day and long lists of measurements are left out: they differ between any two runs. Whether one
result reproduces the other is the question of `kit.result.appraisal.agreement`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core.codec import encode
from kit.core.errors import DigestMismatch
from kit.result.folder import submission_files
from kit.result.predicate import InputFile, Outcome, Predicate
from kit.result.statement import SUBMISSION
from kit.result.verify import VerifiedBundle

MAX_DIFF_BYTES = 1 << 20
MAX_DIFF_LINES = 20_000
"""Size of a file above which its lines are not compared: difflib takes quadratic time at worst."""
GROUPS = ("task", "arguments", "environment", "hardware", "inputs", "limits", "outcome", "claims", "audit")
"""Groups of fields, in the order of the output."""
_LEFT_OUT = (
    ("run", "id"), ("run", "nonce"), ("run", "started_at"), ("claims", "val_points"),
    ("observations", "val_point_host_ms"), ("inputs", "submission"), ("series",), ("reproduces",),
    ("environment", "runtime", "config_sha256"),  # it names the run
    ("environment", "isolation", "checks"), ("audit", "checks"), ("run", "argv"),  # see `_described`
)  # fmt: skip
_KEYS = ("id", "index", "phase", "name")
"""Fields that name an element of a list."""
_RUN_GROUPS = {
    "argv": "arguments", "entry": "arguments", "env": "arguments", "world_size": "arguments",
    "gpus": "hardware", "deadlines": "limits", "limits": "limits", "untimed_steps": "limits",
    "kit": "environment", "compile_cache": "environment", "compile_cache_sha256": "environment",
}  # fmt: skip
_MISSING = object()


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A signed field that differs. A side that lacks the field is None."""

    group: str
    field: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class FileDifference:
    """A file of the submissions that differs."""

    name: str
    change: str
    """`added`, `removed` or `changed`, from the first run to the second."""
    lines: tuple[str, ...]
    """A unified diff; empty if `note` says why there is none."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class RunDifference:
    """All differences of two runs."""

    fields: tuple[FieldDifference, ...]
    """Sorted by group, then by name."""
    files: tuple[FileDifference, ...]
    same: tuple[str, ...]
    """The groups without a difference; `submission` among them if the files are equal."""

    def of_group(self, group: str) -> tuple[FieldDifference, ...]:
        """Return the differences of one group."""
        return tuple(field for field in self.fields if field.group == group)


def compare_runs(a: VerifiedBundle, b: VerifiedBundle) -> RunDifference:
    """Compare two verified bundles. Files are compared if those next to each bundle are the ones that ran."""
    fields = tuple(sorted(_fields(a.predicate, b.predicate), key=lambda f: (GROUPS.index(f.group), f.field)))
    files = tuple(_files(a, b))
    differing = {field.group for field in fields}
    same = [group for group in GROUPS if group not in differing]
    return RunDifference(fields, files, tuple(same if files else ["submission", *same]))


def _fields(a: Predicate, b: Predicate) -> Iterator[FieldDifference]:
    sides = [{**dict(_flat((), encode(Predicate, p))), **dict(_described(p))} for p in (a, b)]
    for path in sorted({*sides[0], *sides[1]}):
        values = [side.get(path, _MISSING) for side in sides]
        if values[0] != values[1]:
            one, other = (None if value is _MISSING else value for value in values)
            yield FieldDifference(*_place(path), one, other)


def _described(p: Predicate) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield what is compared of checks and arguments: the figures of checks differ between any two runs."""
    for check in p.audit.checks:
        failed = check.outcome is Outcome.FAILED
        text = f"{check.outcome} ({check.severity}): {check.detail}" if failed else check.outcome.value
        yield ("audit", check.id), text
    for probed in p.environment.isolation.checks:
        text = "passed" if probed.passed else f"failed: {probed.detail}"
        yield ("environment", "isolation", probed.id), text
    yield from ((("run", "argv", name), value) for name, value in _arguments(p.run.argv))


def _arguments(argv: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield each option with its value, and each other argument with its position among those."""
    number = 0
    seen: dict[str, int] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            yield f"[{number}]", word
            number += 1
            continue
        name, equals, value = word.partition("=")
        if not equals and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name}#{seen[name]}"), value


def _place(path: tuple[str, ...]) -> tuple[str, str]:
    """Return the group and the name of a field."""
    first, *rest = path
    name = ".".join(rest) or first
    match first:
        case "run":
            return _RUN_GROUPS.get(rest[0], "outcome"), name.removeprefix("argv.")
        case "observations" | "score" | "evidence":
            return "outcome", name
        case _:
            return first, name


def _flat(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every value of a document with its path; a list of plain values is one value."""
    if path in _LEFT_OUT:
        return
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat((*path, str(key)), inner)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        key = next((k for k in _KEYS if k in value[0]), None)
        for number, inner in enumerate(value):
            yield from _flat((*path, str(inner[key]) if key else str(number)), inner)
    else:
        yield path, value


def _files(a: VerifiedBundle, b: VerifiedBundle) -> Iterator[FileDifference]:
    before = {f.name: f for f in a.predicate.inputs.submission}
    after = {f.name: f for f in b.predicate.inputs.submission}
    differing = [n for n in sorted({*before, *after}) if before.get(n) != after.get(n)]
    present = [_is_present(bundle) for bundle in (a, b)] if differing else [True, True]
    for name in differing:
        change = "added" if name not in before else "removed" if name not in after else "changed"
        if not all(present):
            where = (a if not present[0] else b).path.parent / SUBMISSION
            yield FileDifference(
                name, change, (), f"{where} is missing or has other files than those that ran"
            )
        else:
            yield _compare_file(name, change, (a, before.get(name)), (b, after.get(name)))


def _is_present(bundle: VerifiedBundle) -> bool:
    """Tell whether the files next to a bundle are those that ran."""
    try:
        files = submission_files(bundle.path.parent)
    except DigestMismatch:
        return False
    return files == tuple(sorted(bundle.predicate.inputs.submission, key=lambda f: f.name))


def _compare_file(
    name: str,
    change: str,
    one: tuple[VerifiedBundle, InputFile | None],
    other: tuple[VerifiedBundle, InputFile | None],
) -> FileDifference:
    files = [(bundle.path.parent / SUBMISSION / file.name) if file else None for bundle, file in (one, other)]
    if max(file.size for _, file in (one, other) if file) > MAX_DIFF_BYTES:
        return FileDifference(name, change, (), "too large to compare by lines")
    texts = [_lines(path) for path in files]
    if texts[0] is None or texts[1] is None:
        return FileDifference(name, change, (), "not text")
    if max(len(text) for text in texts if text) > MAX_DIFF_LINES:
        return FileDifference(name, change, (), "too many lines to compare")
    old, new = (f"{side}/{name}" if path else "/dev/null" for side, path in zip("ab", files, strict=True))
    found = difflib.unified_diff(texts[0], texts[1], old, new, lineterm="")
    return FileDifference(name, change, tuple(found))


def _lines(path: Path | None) -> list[str] | None:
    """Return the lines of a file, none if it does not exist; None if it is not text."""
    if path is None:
        return []
    data = path.read_bytes()
    if b"\0" in data:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    lines = text.split("\n")
    if lines[-1] == "":
        return lines[:-1]
    return [*lines[:-1], f"{lines[-1]} (no newline at the end of the file)"]

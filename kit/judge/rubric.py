"""Rubrics: what the change of a task consists of, in items with weights, and how a script shows each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core.digest import Sha256, sha256_bytes
from kit.core.errors import SchemaError, UsageError
from kit.core.reading import unreadable
from kit.core.schema import parse_toml, read_bounded, validate
from kit.judge.probe import Probe, probe_of
from kit.values.task_id import file_label

SCHEMA = "rubric.v1"
FOLDER = "rubrics"


@dataclass(frozen=True, slots=True)
class RubricItem:
    """One part of a task's change."""

    id: str
    weight: float
    """Relative to the sum over the rubric."""
    text: str
    """For a model and for people: what a script must do to have the item."""
    probe: Probe | None
    """None: only a reader can tell."""


@dataclass(frozen=True, slots=True)
class Rubric:
    """The items of one task."""

    task: str
    requires: Probe
    """What every training script has; without it no item counts, so that nothing is won by absence."""
    items: tuple[RubricItem, ...]
    sha256: Sha256
    """That of the file."""

    @property
    def weight(self) -> float:
        """Return the weight of all items."""
        return sum(item.weight for item in self.items)

    @property
    def probe_share(self) -> float:
        """Return the share of the weight that probes decide."""
        return sum(item.weight for item in self.items if item.probe is not None) / self.weight


def known_rubrics(root: Path) -> tuple[str, ...]:
    """Return the tasks that have a rubric below `root` (see `kit.core.facts.facts_root`), in order."""
    return tuple(path.stem.lstrip("0") for path in sorted((root / FOLDER).glob("*.toml")))


def load_rubric(root: Path, task: int | str) -> Rubric:
    """
    Read the rubric of a task below `root` (see `kit.core.facts.facts_root`).

    Raises `UsageError` for a task without a rubric, and `SchemaError` as `read_rubric` does.
    """
    path = root / FOLDER / f"{file_label(str(task))}.toml"
    if not path.is_file():
        known = ", ".join(known_rubrics(root)) or "none"
        raise UsageError(f"task {task} has no rubric: {path} not found", f"tasks with a rubric: {known}")
    return read_rubric(path)


def read_rubric(path: Path) -> Rubric:
    """
    Read a rubric from a TOML file.

    Raises `PrerequisiteError` for a missing file, and `SchemaError` that names the item for a field that
    violates the schema, a duplicate id, or a probe that is not valid.
    """
    try:
        data = read_bounded(path)
    except OSError as e:
        raise unreadable(path, e) from e
    document = parse_toml(data, str(path))
    validate(SCHEMA, document, str(path))
    items = tuple(_item(item, f"{path.name}: item {item['id']}") for item in document["item"])
    ids = [item.id for item in items]
    for name in ids:
        if ids.count(name) > 1:
            raise SchemaError(f"{path}: duplicate item {name!r}", "give each item its own id")
    requires = probe_of(document["requires"], f"{path.name}: requires")
    return Rubric(str(document["task"]), requires, items, sha256_bytes(data))


def _item(item: dict[str, Any], where: str) -> RubricItem:
    probe = probe_of(item["probe"], f"{where}: probe") if "probe" in item else None
    return RubricItem(item["id"], float(item["weight"]), item["text"], probe)

"""A task: two neighbouring records and the hints for the change between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.benchmark.hints import LEVELS, SMOKE_TASKS, TASKS, Hint, HintLevel, load_hint, target_of
from kit.benchmark.records import Record, load
from kit.core.errors import PrerequisiteError


@dataclass(frozen=True, slots=True)
class Task:
    """Improve `start` to the time of `target`; has the name of `start`."""

    start: Record
    target: Record

    @property
    def name(self) -> str:
        """Return the task's name, which is the start record's: `3`, `smoke-1`."""
        return self.start.name

    @property
    def number(self) -> int:
        """Return the task's number, which is the start record's; 0 for a smoke task."""
        return self.start.number

    @property
    def gap_ms(self) -> float:
        """
        Return the time between both records on the paper's machines in milliseconds; FSR 1 is this gap.

        A smoke task's times are of the machine that its records name.
        """
        return self.start.reference_ms - self.target.reference_ms

    @property
    def noise(self) -> float:
        """
        Return the standard error of one run's FSR from timing alone, on the paper's machines.

        It comes from the standard deviation of three runs per record. Above 0.35 a single run shows little.
        """
        deviations = [record.retimed_sd_ms or 0.0 for record in (self.start, self.target)]
        return float(sum(sd**2 for sd in deviations) ** 0.5 / self.gap_ms)


def load_task(root: Path, name: int | str) -> Task:
    """
    Read task `name`, a number or `smoke-N`, below `root` (see `kit.core.facts.facts_root`).

    Raises `UsageError` with the known tasks if there is no such task, and as `records.load` does.
    """
    target = target_of(name)
    return Task(load(root / "records", name), load(root / "records", target))


def load_tasks(root: Path) -> tuple[Task, ...]:
    """Read all 19 tasks, in order."""
    return tuple(load_task(root, number) for number in TASKS)


def load_smoke_tasks(root: Path) -> tuple[Task, ...]:
    """Read the three smoke tasks, in order."""
    return tuple(load_task(root, name) for name in SMOKE_TASKS)


def hints_of(root: Path, task: int | str) -> tuple[HintLevel, ...]:
    """Return the hint levels of a task."""
    levels: list[HintLevel] = []
    for level in LEVELS:
        try:
            load_hint(root, task, level)
        except PrerequisiteError:
            continue
        levels.append(level)
    return tuple(levels)


def chosen_hints(root: Path, task: int | str, levels: tuple[HintLevel, ...]) -> tuple[Hint, ...]:
    """
    Return the hints of the given levels, sorted and without duplicates; level 0 adds none.

    Raises `PrerequisiteError` for a level without a file.
    """
    chosen = sorted(set(levels) - {HintLevel.NONE})
    return tuple(load_hint(root, task, level) for level in chosen)

"""A task: two neighbouring records and the hints for the change between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.benchmark.hints import LEVELS, TASKS, Hint, HintLevel, load_hint, target_of
from kit.benchmark.records import Record, load
from kit.core.errors import PrerequisiteError


@dataclass(frozen=True, slots=True)
class Task:
    """Improve `start` to the time of `target`; named by the number of `start`."""

    start: Record
    target: Record

    @property
    def number(self) -> int:
        """Return the task's number, which is the start record's."""
        return self.start.number

    @property
    def gap_ms(self) -> float:
        """Return the time between both records on the paper's machines in milliseconds; FSR 1 is this gap."""
        return self.start.reference_ms - self.target.reference_ms

    @property
    def noise(self) -> float:
        """
        Return the standard error of one run's FSR from timing alone, on the paper's machines.

        It comes from the standard deviation of three runs per record. Above 0.35 a single run shows little.
        """
        deviations = [record.retimed_sd_ms or 0.0 for record in (self.start, self.target)]
        return float(sum(sd**2 for sd in deviations) ** 0.5 / self.gap_ms)


def load_task(root: Path, number: int) -> Task:
    """
    Read task `number` below `root` (see `kit.core.facts.facts_root`).

    Raises `UsageError` with the known tasks if there is no such task, and as `records.load` does.
    """
    target = target_of(number)
    return Task(load(root / "records", number), load(root / "records", target))


def load_tasks(root: Path) -> tuple[Task, ...]:
    """Read all 19 tasks, in order."""
    return tuple(load_task(root, number) for number in TASKS)


def hints_of(root: Path, number: int) -> tuple[HintLevel, ...]:
    """Return the hint levels of task `number`."""
    levels: list[HintLevel] = []
    for level in LEVELS:
        try:
            load_hint(root, number, level)
        except PrerequisiteError:
            continue
        levels.append(level)
    return tuple(levels)


def chosen_hints(root: Path, number: int, levels: tuple[HintLevel, ...]) -> tuple[Hint, ...]:
    """
    Return the hints of the given levels, sorted and without duplicates; level 0 adds none.

    Raises `PrerequisiteError` for a level without a file.
    """
    chosen = sorted(set(levels) - {HintLevel.NONE})
    return tuple(load_hint(root, number, level) for level in chosen)

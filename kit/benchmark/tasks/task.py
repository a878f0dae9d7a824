"""A task as a value: two neighbouring records and the hints between them. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.benchmark.hints import LEVELS, TASKS, Hint, HintLevel, load_hint, target_of
from kit.benchmark.records import Record, load
from kit.core.errors import PrerequisiteError


@dataclass(frozen=True, slots=True)
class Task:
    """From `start` to the time of `target`; named by the number of `start`."""

    start: Record
    target: Record

    @property
    def number(self) -> int:
        """The task's name."""
        return self.start.number

    @property
    def gap_ms(self) -> float:
        """What there is to gain on the paper's machines, in milliseconds; the whole of FSR's scale."""
        return self.start.reference_ms - self.target.reference_ms

    @property
    def noise(self) -> float:
        """
        Standard error of one run's FSR from timing alone, on the paper's machines.

        From the sd of three runs of each record: above 0.35 one run says little.
        """
        deviations = [record.retimed_sd_ms or 0.0 for record in (self.start, self.target)]
        return float(sum(sd**2 for sd in deviations) ** 0.5 / self.gap_ms)


def load_task(root: Path, number: int) -> Task:
    """
    Read task `number` below `root` (see `kit.core.facts.facts_root`).

    Raises `UsageError` saying which tasks there are if there is no such task, and as `records.load` does.
    """
    target = target_of(number)
    return Task(load(root / "records", number), load(root / "records", target))


def load_tasks(root: Path) -> tuple[Task, ...]:
    """Read all 19 tasks, in order."""
    return tuple(load_task(root, number) for number in TASKS)


def hints_of(root: Path, number: int) -> tuple[HintLevel, ...]:
    """Return the levels that task `number` has a hint file for."""
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
    Return the hints of the given levels, in order and once each; level 0 adds none.

    Raises `PrerequisiteError` for a level that has no file: an absent hint never reads as an empty one.
    """
    chosen = sorted(set(levels) - {HintLevel.NONE})
    return tuple(load_hint(root, number, level) for level in chosen)

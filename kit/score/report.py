"""Score configurations by the kit's rules: every reserved run of every task counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kit.benchmark.records import TARGET_VAL_LOSS
from kit.benchmark.tasks import Task
from kit.core.errors import UsageError
from kit.core.text import counted
from kit.score.baseline import Baseline, BaselineKind, Baselines
from kit.score.metrics import Interval, MeanTest, Ratio, aggregate, fieller, fsr, mean_below
from kit.score.rows import Role, Row

REPETITIONS = 50_000


@dataclass(frozen=True, slots=True)
class RunScore:
    """One run's score."""

    run: str
    reached: bool
    """Whether it has a finite time, and a loss of at most 3.28."""
    fsr: float
    """Measured value, which can be below 0; 0 for a failed run."""
    counted: float
    """Value in the aggregates: at least 0, no upper bound."""
    baseline: Baseline | None
    """None if the FSR comes from the table."""


@dataclass(frozen=True, slots=True)
class TaskScore:
    """All runs of one configuration at one task."""

    task: int | str
    runs: tuple[RunScore, ...]
    ratio: Ratio | None
    """FSR with Fieller's interval; None unless all three arms have two runs on one machine."""
    loss: MeanTest | None
    """Test of whether the mean loss is below 3.28; None if no run has a loss."""

    @property
    def reached(self) -> int:
        """Count the runs that reached the target loss."""
        return sum(r.reached for r in self.runs)

    @property
    def mean(self) -> float:
        """Return the mean of the counted scores."""
        return sum(r.counted for r in self.runs) / len(self.runs)

    @property
    def kinds(self) -> tuple[BaselineKind, ...]:
        """Return the baseline kinds in use, best first."""
        return tuple(k for k in BaselineKind if any(r.baseline and r.baseline.kind is k for r in self.runs))

    @property
    def unresolved(self) -> bool:
        """Return whether the gap between start and target is within the noise of their runs."""
        return self.ratio is not None and not self.ratio.resolved


@dataclass(frozen=True, slots=True)
class ConfigScore:
    """One configuration over the tasks."""

    config: str
    tasks: tuple[TaskScore, ...]
    absent: tuple[int | str, ...]
    """Tasks without a run; they count as 0 unless the score is partial."""
    partial: bool
    figures: tuple[Interval, ...]
    """Mean, median, interquartile mean and optimality gap, with 95 % intervals."""


def score(
    rows: Sequence[Row],
    tasks: Sequence[Task],
    *,
    baseline_kind: BaselineKind | None = None,
    partial: bool = False,
    seed: int = 0,
    repetitions: int = REPETITIONS,
) -> tuple[ConfigScore, ...]:
    """
    Score every configuration among `rows`, sorted by name.

    A run scores 0 if it has no time or no finite loss of at most 3.28. `partial` leaves out tasks without a
    run instead of counting them as 0. Runs of the start and target records (`role`) are baselines for every
    configuration. Raises `UsageError` for an unknown task or if there is no candidate, `PrerequisiteError` if
    the baseline is not available.
    """
    known = {t.listed: t for t in tasks}
    for row in rows:
        if row.task not in known:
            raise UsageError(f"{row.source}: unknown task {row.task}", "list tasks: speedrun task list")
    candidates: dict[str, dict[int | str, list[Row]]] = {}
    for row in rows:
        if row.role is Role.CANDIDATE:
            candidates.setdefault(row.config, {}).setdefault(row.task, []).append(row)
    if not candidates:
        own = f": only {counted(len(rows), 'run')} of records' own scripts, the baselines" if rows else ""
        raise UsageError(f"no run to score{own}", "add rows with role candidate, or bundles of submissions")
    baselines = Baselines(rows, baseline_kind)
    configs = sorted(candidates.items())
    return tuple(_config(name, own, known, baselines, partial, seed, repetitions) for name, own in configs)


def _config(
    name: str,
    own_rows: Mapping[int | str, Sequence[Row]],
    tasks: Mapping[int | str, Task],
    baselines: Baselines,
    partial: bool,
    seed: int,
    repetitions: int,
) -> ConfigScore:
    present = [n for n in tasks if n in own_rows]
    absent = tuple(n for n in tasks if n not in own_rows)
    task_scores = tuple(_task(tasks[n], own_rows[n], baselines) for n in present)
    scores = [[r.counted for r in t.runs] for t in task_scores]
    if not partial:
        scores += [[0.0]] * len(absent)
    return ConfigScore(name, task_scores, absent, partial, aggregate(scores, seed, repetitions))


def _task(task: Task, own_rows: Sequence[Row], baselines: Baselines) -> TaskScore:
    runs = tuple(_run(task, r, baselines) for r in own_rows)
    losses = [r.val_loss for r in own_rows if r.val_loss is not None]
    return TaskScore(
        task.listed,
        runs,
        None
        if baselines.kind not in (None, BaselineKind.SAME_MACHINE)
        else _ratio(task, own_rows, runs, baselines),
        mean_below(losses, TARGET_VAL_LOSS) if losses else None,
    )


def _run(task: Task, row: Row, baselines: Baselines) -> RunScore:
    if row.fsr is not None and (row.val_loss is None or row.val_loss <= TARGET_VAL_LOSS):
        return RunScore(row.run, True, row.fsr, max(row.fsr, 0.0), None)
    if not has_reached(row, TARGET_VAL_LOSS) or row.time_ms is None:
        return RunScore(row.run, False, 0.0, 0.0, None)
    here = baselines.baseline(task, row.machine)
    value = fsr(here.start_ms, here.target_ms, row.time_ms)
    return RunScore(row.run, True, value, max(value, 0.0), here)


def has_reached(row: Row, bound: float) -> bool:
    """Return whether the run has a time, and a loss of at most `bound`."""
    return row.time_ms is not None and row.val_loss is not None and row.val_loss <= bound


def _ratio(
    task: Task, own_rows: Sequence[Row], runs: Sequence[RunScore], baselines: Baselines
) -> Ratio | None:
    """
    Return the interval of the runs on the first machine on which all arms were measured twice.

    Also where the target was slower than the start there, and the runs have another baseline: the two records
    were compared, and the answer is that they do not differ.
    """
    times: dict[str, list[float]] = {}
    for row, run in zip(own_rows, runs, strict=True):
        if run.reached and row.time_ms is not None:
            times.setdefault(row.machine, []).append(row.time_ms)
    with_baseline = (row.machine for row, run in zip(own_rows, runs, strict=True) if run.baseline is not None)
    for machine in dict.fromkeys(with_baseline):
        start, target = baselines.measured(task, machine)
        if min(len(times[machine]), len(start), len(target)) >= 2:
            return fieller(start, target, times[machine])
    return None

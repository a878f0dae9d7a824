"""What a run works on: the task's text, hints, start script and reference times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from kit.agent.nodefiles import Files
from kit.agent.outcome import ReferenceTimes
from kit.benchmark.hints import Hint, HintLevel
from kit.benchmark.tasks import Task, load_task, smoke_handout, task_text
from kit.benchmark.tasks.task import chosen_hints
from kit.core.errors import PrerequisiteError, UsageError
from kit.data.synth import load_smoke
from kit.evaluate.plan import RunPlan
from kit.evaluate.request import Places
from kit.evaluate.smoke_task import smoke_terms
from kit.values.profile import Profile
from kit.values.task_id import LATER_SET, PAPER_SET, SMOKE_SET, is_smoke, listed_as, set_of

_MACHINES = {
    SMOKE_SET: "the machine of the smoke records",
    PAPER_SET: "the paper's machines",
    LATER_SET: "upstream's machines",
}
"""Where the reference times of a set's records were measured."""

_OWN_START = """
## Your start script

The script that you get is not that of record {name}. It is the best script of a search from an earlier
record; its training took {time}. Where this text says "this script" about the gap, it means that of record
{name}.
"""


@dataclass(frozen=True, slots=True)
class OwnStart:
    """A start script that is not the record's, and its time on this machine."""

    files: Files
    time_ms: float | None
    """Milliseconds of training; None: unknown."""
    sd_ms: float | None = None


@dataclass(frozen=True, slots=True)
class AgentTask:
    """A task as a run uses it."""

    name: str
    """`3`, `smoke-1`."""
    text: str
    """TASK.md without its section about hints."""
    hints: tuple[Hint, ...]
    start: Files
    """The start script's files, with `run.toml`."""
    entry: str
    """The one of them that torchrun starts."""
    target_loss: float
    """In nats per token."""
    reference: ReferenceTimes | None
    """None: the times of start and target are not known in this profile."""


def load_agent_task(root: Path, plan: RunPlan, levels: tuple[int, ...], places: Places) -> AgentTask:
    """
    Return the task that starts at the plan's record. Fetches the start script if necessary.

    `root` is that of `kit.core.facts.facts_root`. Raises `UsageError` for a record that starts no task and
    for hints about another script, and what fetching raises.
    """
    task = load_task(root, listed_as(plan.record.name))
    own_script = is_smoke(task.name) or plan.terms.profile is Profile.FULL
    if levels and not own_script:
        raise UsageError(
            "the hints are about record scripts, and the smoke profile has another script",
            "omit --hints, or use --profile full",
        )
    files = plan.terms.start_script.files(places)
    if files is None:
        raise PrerequisiteError(
            f"cannot get the start script of record {task.name}",
            f"run: speedrun record fetch {task.name}; from a clone of upstream:"
            f" speedrun record fetch {task.name} --upstream CLONE",
        )
    return AgentTask(
        name=task.name,
        text=task_text(task.start) if own_script else _smoke_text(task, places),
        hints=chosen_hints(root, listed_as(task.name), tuple(map(HintLevel, levels))),
        start={file.name: file.data for file in files},
        entry=plan.terms.start_script.entry,
        target_loss=plan.terms.target_val_loss,
        reference=_reference(task) if own_script else None,
    )


def _smoke_text(task: Task, places: Places) -> str:
    return smoke_handout(task.number, smoke_terms(load_smoke(places.records), places))


def _reference(task: Task) -> ReferenceTimes:
    source = _MACHINES[set_of(task.name)]
    return ReferenceTimes(task.start.reference_ms, task.target.reference_ms, task.start.retimed_sd_ms, source)


def starting_from(task: AgentTask, start: OwnStart) -> AgentTask:
    """
    Return the task with another start script; its text says so.

    Raises `UsageError` if the files do not have the task's entry script.
    """
    if task.entry not in start.files:
        raise UsageError(
            f"the start script has no {task.entry}, which torchrun starts in task {task.name}",
            "end the cumulative run before this task, with --to",
        )
    seconds = "a time that is not known" if start.time_ms is None else f"{start.time_ms / 1000:.2f} s"
    text = task.text.rstrip("\n") + "\n" + _OWN_START.format(name=task.name, time=seconds)
    return replace(task, start=start.files, text=text)


def reference_times(
    known: ReferenceTimes | None, start_ms: float | None, target_ms: float | None
) -> ReferenceTimes | None:
    """
    Return the record's times, or those that the user measured on this machine.

    A target time that is not given is scaled from the record's. Raises `UsageError` for times that cannot be
    compared.
    """
    if start_ms is None and target_ms is None:
        return known
    if start_ms is None:
        raise UsageError("a target time without a start time cannot be compared", "pass --start-time as well")
    if target_ms is None and known is not None:
        target_ms = known.target_ms * start_ms / known.start_ms
    if target_ms is None:
        raise UsageError("the target time is not known in this profile", "pass --target-time as well")
    if target_ms >= start_ms:
        raise UsageError(f"the target time ({target_ms:g} ms) is not below the start time ({start_ms:g} ms)")
    return ReferenceTimes(start_ms, target_ms, None, "this machine, by the user")

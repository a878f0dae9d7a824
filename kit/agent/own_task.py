"""A task for an agent outside the kit: text, hints, start script, target, and what evaluates a submission."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kit.agent.evaluation import KitEvaluator
from kit.agent.evaluator import Evaluator
from kit.agent.nodefiles import Files
from kit.agent.outcome import ReferenceTimes
from kit.agent.recorded import BUNDLES
from kit.agent.spec import EvaluationSettings
from kit.agent.task import load_agent_task
from kit.benchmark.hints import Hint
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.core.home import default_keys, default_store
from kit.core.store import Store
from kit.core.text import one_line
from kit.evaluate.check import CheckTerms, SubmissionFinding, check_submission, check_terms
from kit.evaluate.plan import RunPlan, draft
from kit.evaluate.provenance import this_kit
from kit.evaluate.request import Places, Request
from kit.image.fetch import default_fetchers
from kit.sandbox.turn import turn_folder
from kit.values.era_modules import modules_of
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName
from kit.values.task_id import is_smoke

SubmissionChecker = Callable[[Path], tuple[str, ...]]
"""Returns what is wrong with a submission, one text for each fault; empty if it can be evaluated."""


@dataclass(frozen=True, slots=True)
class OwnTask:
    """A task with everything that an agent of one's own needs."""

    name: str
    text: str
    """TASK.md without hints."""
    hints: tuple[Hint, ...]
    start: Files
    """The start script's files."""
    target_loss: float
    """In nats per token."""
    settings: EvaluationSettings
    evaluator: Evaluator
    check: SubmissionChecker = lambda folder: ()
    """What is called before an evaluation."""
    warn: SubmissionChecker = lambda folder: ()
    """What a person or an agent should look at, and no reason to refuse."""
    keys: Path | None = None
    """The directory of the key that signs a run's summary; None: no summary is signed."""

    def evaluator_of(self, run: Path) -> Evaluator:
        """Return what evaluates for the run in the directory `run`, and writes its bundles there."""
        if not isinstance(self.evaluator, KitEvaluator):
            return self.evaluator
        places = replace(self.evaluator.places, out=(run / BUNDLES).absolute())
        return replace(self.evaluator, places=places)

    @property
    def briefing(self) -> str:
        """The task's text with its hints, as an agent may read it."""
        return "\n\n".join((self.text.rstrip("\n"), *(hint.text.rstrip("\n") for hint in self.hints))) + "\n"


def default_places(out: Path, store: Path | None = None, keys: Path | None = None) -> Places:
    """Return the places of evaluations into `out`: the facts of this kit, the user's store and keys."""
    facts = facts_root()
    return Places(
        records=facts / "records",
        images=facts / "images",
        store=Store(store or default_store()),
        out=out.absolute(),
        keys=keys or default_keys(),
        fetchers=default_fetchers(None),
        kit=this_kit(),
        turns=turn_folder(),
    )


def task_of(
    name: str,
    places: Places,
    hints: Sequence[int] = (),
    runtime: str | None = None,
    start_ms: float | None = None,
) -> OwnTask:
    """
    Return a task: `smoke-1` to `smoke-3` on two CPU cores, those of an upstream record on 8 GPUs.

    `start_ms` is the time of the start script on this machine in milliseconds; the target's is scaled by it.
    None takes the times of the records, which other machines measured. The first call may download the start
    script. Raises `UsageError` for an unknown task or runtime, and `PrerequisiteError` if a hint or a runtime
    is missing.
    """
    profile = Profile.SMOKE if is_smoke(name) else Profile.FULL
    request = Request(name, profile, runtime=_runtime(runtime))
    return task_for(request, places, hints, lambda known: _measured(known, start_ms))


def task_for(
    request: Request,
    places: Places,
    hints: Sequence[int] = (),
    reference: Callable[[ReferenceTimes | None], ReferenceTimes | None] = lambda known: known,
) -> OwnTask:
    """
    Return the task of a request, whose submission is left out.

    `reference` returns the times that FSR is measured between, given those of the records. Raises as
    `task_of` does.
    """
    plan = draft(request, places)
    task = load_agent_task(facts_root(), plan, tuple(sorted(set(hints))), places)
    times = reference(task.reference)
    terms = check_terms(request.record, request.profile, places)
    if plan.terms.profile is Profile.FULL:
        terms = replace(terms, modules=modules_of(plan.era))  # --image may name another one
    return OwnTask(
        name=task.name,
        text=task.text,
        hints=task.hints,
        start=task.start,
        target_loss=task.target_loss,
        settings=_settings(plan, times),
        evaluator=KitEvaluator(replace(request, runtime=plan.runtime.name), places, times),
        check=_checker(terms, fatal=True),
        warn=_checker(terms, fatal=False),
        keys=places.keys,
    )


def _measured(known: ReferenceTimes | None, start_ms: float | None) -> ReferenceTimes | None:
    if known is None or start_ms is None:
        return known
    return ReferenceTimes(start_ms, known.target_ms * start_ms / known.start_ms, None, "this machine")


def _checker(terms: CheckTerms, fatal: bool) -> SubmissionChecker:
    """Return what `speedrun check` finds fatal, or only warns of."""
    return lambda folder: tuple(
        _told(f) for f in check_submission(folder, terms).findings if f.fatal is fatal
    )


def _told(finding: SubmissionFinding) -> str:
    place = f"{finding.file}:{finding.line}: " if finding.file and finding.line else ""
    return one_line(f"{finding.id}: {place}{finding.message}")


def _runtime(name: str | None) -> RuntimeName | None:
    try:
        return None if name is None else RuntimeName(name)
    except ValueError as e:
        raise UsageError(f"unknown runtime {name!r}", f"choose one of {', '.join(RuntimeName)}") from e


def _settings(plan: RunPlan, reference: ReferenceTimes | None) -> EvaluationSettings:
    return EvaluationSettings(
        profile=plan.terms.profile.value,
        runtime=plan.runtime.name.value,
        image=plan.era,
        gpus=plan.terms.gpus,
        worst_wall_s=plan.deadlines.total_s,
        start_ms=None if reference is None else reference.start_ms,
        start_sd_ms=None if reference is None else reference.start_sd_ms,
        target_ms=None if reference is None else reference.target_ms,
    )

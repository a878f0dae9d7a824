"""
Runs: from a request to a spec and its parts; start, resume, read (`RunRequest`, `AgentRun`).

The directory of a run holds everything that resuming needs, but for the endpoint's key and what the store
has: the spec, knowledge files, and the answers if they come from a file.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kit import __version__
from kit.agent.budget import Budget, Spent, require_prices
from kit.agent.calls import CallFolder
from kit.agent.costs import MostSpent, ProfilePrices, require_context, worst_case
from kit.agent.editing import CheckedEditor
from kit.agent.evaluation import KitEvaluator
from kit.agent.evaluator import Evaluator
from kit.agent.events import Event
from kit.agent.kept import keep, kept_knowledge, kept_script, kept_start
from kit.agent.knowledge import Knowledge
from kit.agent.llm.profile import ModelProfile, parse_profile
from kit.agent.llm.scripted import AnswerScript
from kit.agent.llm.wire import Message, Transport
from kit.agent.messages import TreePrompts
from kit.agent.node import Action, ActionKind, Node
from kit.agent.nodefiles import Files, files_digest
from kit.agent.outcome import reference_of_spec
from kit.agent.policy import SESSION, Policy, SearchFidelity
from kit.agent.prompt import PromptTask, prompt_set
from kit.agent.recorded import BUNDLES
from kit.agent.search import SPEC, SearchEnd, SearchParts, search
from kit.agent.solve import ModelSolver
from kit.agent.spec import (
    AgentSpec,
    EvaluationSettings,
    KnowledgeDigest,
    ModelChoice,
    read_spec,
    run_id,
    spec_sha256,
)
from kit.agent.steps import StepParts
from kit.agent.task import AgentTask, OwnStart, load_agent_task, reference_times, starting_from
from kit.agent.tree import Tree
from kit.core.codec import pairs
from kit.core.errors import IntegrityError, PrerequisiteError, UsageError
from kit.evaluate.check import check_terms
from kit.evaluate.plan import RunPlan, draft
from kit.evaluate.request import Places, Request
from kit.evaluate.run import Listener
from kit.values.profile import Profile
from kit.values.task_id import listed_as


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run as a user asks for it."""

    evaluation: Request
    """The request of every evaluation; its record is the task."""
    hints: tuple[int, ...]
    policy: Policy
    fidelity: SearchFidelity
    controls: int
    seed: int
    budget: Budget
    model: ModelProfile
    script: AnswerScript | None = None
    """The answers of a scripted profile; None for an endpoint."""
    knowledge: tuple[Knowledge, ...] = ()
    start_ms: float | None = None
    """Time of the start script on this machine in milliseconds; None: the record's time."""
    target_ms: float | None = None
    """The same of the target script; None: the record's, scaled as the start script's time."""
    start: OwnStart | None = None
    """Another start script than the record's, with its time; `target_ms` is then left out if it is slower."""


@dataclass(frozen=True, slots=True)
class RunHooks:
    """What a run asks and tells its caller."""

    cancelled: Callable[[], bool] = lambda: False
    written: Callable[[Event, Tree, Spent], None] = lambda event, tree, spent: None
    """Called after each new line of the journal."""
    listener: Callable[[Callable[[], bool]], Listener] | None = None
    """Makes the callbacks of one evaluation."""
    redact: Callable[[Any], Any] = lambda value: value
    """Returns a JSON value without the endpoint's key."""
    now: Callable[[], str] = lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class AgentRun:
    """A run that is ready to start or to go on."""

    folder: Path
    spec: AgentSpec
    task: AgentTask
    profile: ModelProfile
    script: AnswerScript | None
    knowledge: tuple[Knowledge, ...]
    evaluation: Request
    places: Places
    """Those of its evaluations: `out` is the run's directory of bundles."""
    own_start: Files | None = None
    """The start script's files, if it is not the record's."""

    def first_messages(self) -> tuple[Message, ...]:
        """Return the messages of a first draft."""
        return self._prompts().prompt(Node(1, Action(ActionKind.DRAFT), None), Tree())

    def worst_case(self, retime: int = 0) -> MostSpent:
        """Return the most that the run can spend; `retime` is the number of runs of the winner after it."""
        return worst_case(self.spec, self.profile, self.first_messages(), retime)

    def run(self, transport: Transport, hooks: RunHooks) -> SearchEnd:
        """
        Start the run, or go on with it; a finished one is only read.

        Raises `UsageError` if the prompts do not fit into the context, and what `search` raises.
        """
        require_context(self.worst_case().context)
        keep(self.folder, self.knowledge, self.script, self.own_start)
        return search(self.folder, self.spec, self.parts(transport, self.evaluator(hooks), hooks))

    def evaluator(self, hooks: RunHooks) -> KitEvaluator:
        """Return what evaluates the nodes of the run on this machine."""
        evaluator = KitEvaluator(self.evaluation, self.places, reference_of_spec(self.spec))
        return evaluator if hooks.listener is None else replace(evaluator, listener=hooks.listener)

    def parts(self, transport: Transport, evaluator: Evaluator, hooks: RunHooks) -> SearchParts:
        """Return the parts of the search, with this transport and this evaluator."""
        terms = check_terms(listed_as(self.spec.task), Profile(self.spec.evaluation.profile), self.places)
        steps = StepParts(
            transport, evaluator, ProfilePrices(self.profile), CallFolder(self.folder, hooks.redact)
        )
        return SearchParts(
            solver=ModelSolver(self._prompts(), CheckedEditor(terms), self.profile.request(())),
            steps=steps,
            start=self.task.start,
            now=hooks.now,
            cancelled=hooks.cancelled,
            redact=hooks.redact,
            written=hooks.written,
        )

    def _prompts(self) -> TreePrompts:
        task = PromptTask(
            self.task.text, self.task.hints, self.knowledge, self.profile.edit_format, self.task.entry
        )
        spec = self.spec
        return TreePrompts(
            self.folder,
            task,
            self.task.start,
            self.task.target_loss,
            spec.policy,
            spec.fidelity,
            spec_sha256(spec),
        )


def new_run(root: Path, request: RunRequest, places: Places, out: Path, name: str | None = None) -> AgentRun:
    """
    Return a run that was not started, in the directory `out`/ID; the ID follows from the spec.

    `name` is another name of the directory. Fetches the start script if necessary, and nothing else. `root`
    is that of `kit.core.facts.facts_root`. Raises `UsageError` for a limit in USD without prices, and as
    planning an evaluation and loading the task.
    """
    require_prices(request.budget, ProfilePrices(request.model).known)
    plan = draft(request.evaluation, places)
    task = load_agent_task(root, plan, request.hints, places)
    if request.start is not None:
        task = starting_from(task, request.start)
    spec = _spec(request, task, plan)
    evaluation = replace(request.evaluation, runtime=plan.runtime.name)
    return _run(out / (name or run_id(spec)), spec, task, request, evaluation, places)


def stored_run(root: Path, folder: Path, evaluation: Request, places: Places) -> AgentRun:
    """
    Return the run in the directory `folder`, as its spec says.

    `evaluation` says how to reach this machine's runtime and which interpreter to offer; its record, profile,
    runtime, image and GPUs are the spec's. Raises `PrerequisiteError` for a directory without a run, and
    `IntegrityError` if its files are not those of the spec.
    """
    if not (folder / SPEC).is_file():
        raise PrerequisiteError(f"{folder} contains no run", "pass a directory of agent-runs")
    spec = read_spec(folder / SPEC)
    if spec.policy.name == SESSION:
        raise UsageError(f"{folder} is a session, which no scaffold goes on with", "see: speedrun session")
    request = request_of(folder, spec, evaluation)
    if spec.prompts_sha256 != prompt_set()[1]:
        raise IntegrityError(
            "the prompts of this version of the kit are not those in the run's spec",
            f"use the version that started the run: {spec.kit_version}",
        )
    plan = draft(replace(evaluation, submission=None), places)
    task = load_agent_task(root, plan, spec.hints, places)
    if request.start is not None:
        task = starting_from(task, request.start)
    if files_digest(task.start) != spec.start_sha256 or spec.evaluation.image != plan.era:
        raise IntegrityError(
            "the start script or the image is not the one in the run's spec",
            f"resume the run with version {spec.kit_version} of the kit",
        )
    return _run(folder, spec, task, request, evaluation, places)


def request_of(folder: Path, spec: AgentSpec, evaluation: Request) -> RunRequest:
    """
    Return the request that a stored spec was made of, with the files that its directory keeps.

    Raises `IntegrityError` if a file is not the spec's.
    """
    profile = parse_profile(dict(spec.model.profile), f"{folder}: model.profile")
    script = kept_script(folder, profile) if profile.is_scripted else None
    settings, start = spec.evaluation, kept_start(folder, spec.start_sha256)
    return RunRequest(
        evaluation=evaluation,
        hints=spec.hints,
        policy=spec.policy,
        fidelity=spec.fidelity,
        controls=spec.controls,
        seed=spec.seed,
        budget=spec.budget,
        model=profile,
        script=script,
        knowledge=tuple(kept_knowledge(folder, known) for known in spec.knowledge),
        start=None if start is None else OwnStart(start, settings.start_ms, settings.start_sd_ms),
    )


def _run(
    folder: Path, spec: AgentSpec, task: AgentTask, request: RunRequest, evaluation: Request, places: Places
) -> AgentRun:
    return AgentRun(
        folder=folder,
        spec=spec,
        task=task,
        profile=request.model,
        script=request.script,
        knowledge=request.knowledge,
        evaluation=evaluation,
        places=replace(places, out=(folder / BUNDLES).absolute()),
        own_start=None if request.start is None else request.start.files,
    )


def _spec(request: RunRequest, task: AgentTask, plan: RunPlan) -> AgentSpec:
    start_ms, start_sd_ms, target_ms = _reference(request, task)
    return AgentSpec(
        task=task.name,
        hints=tuple(sorted(int(hint.level) for hint in task.hints)),
        policy=request.policy,
        fidelity=request.fidelity,
        controls=request.controls,
        model=ModelChoice(request.model.name, pairs(request.model.document()), request.model.sha256()),
        seed=request.seed,
        budget=request.budget,
        evaluation=EvaluationSettings(
            profile=plan.terms.profile,
            runtime=plan.runtime.name,
            image=plan.era,
            gpus=plan.terms.gpus,
            worst_wall_s=plan.deadlines.total_s,
            start_ms=start_ms,
            start_sd_ms=start_sd_ms,
            target_ms=target_ms,
        ),
        start_sha256=files_digest(task.start),
        prompts_sha256=prompt_set()[1],
        knowledge=tuple(KnowledgeDigest(known.name, known.sha256) for known in request.knowledge),
        kit_version=__version__,
    )


def _reference(request: RunRequest, task: AgentTask) -> tuple[float | None, float | None, float | None]:
    """Return the times of the start script, their sd, and the time of the target, in milliseconds."""
    own, target_ms = request.start, request.target_ms
    if own is None:
        known = reference_times(task.reference, request.start_ms, target_ms)
        return (None, None, None) if known is None else (known.start_ms, known.start_sd_ms, known.target_ms)
    passed = target_ms is None or own.time_ms is None or target_ms >= own.time_ms
    return own.time_ms, own.sd_ms, None if passed else target_ms

"""The options that `agent run` and `agent cumulative` share, and the request that they state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.agent.answers import packaged_answers
from kit.agent.budget import Budget, parse_budget
from kit.agent.knowledge import load_knowledge
from kit.agent.llm.profile import ModelProfile, load_profile
from kit.agent.llm.scripted import SCRIPTED, AnswerScript, load_script
from kit.agent.policy import POLICIES, SearchFidelity
from kit.agent.spec import AgentSpec
from kit.cli.hint_levels import hint_numbers
from kit.cli.options import DEADLINE, image_option, python_option, task_profile_option, with_options
from kit.cli.runtime import PODMAN, guest_python, select_runtime
from kit.core.errors import UsageError
from kit.evaluate.request import Request
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName
from kit.values.task_id import is_smoke, listed_as

if TYPE_CHECKING:
    from kit.agent.session import RunRequest

_SEARCH_OPTIONS = (
    click.option(
        "--scaffold",
        type=click.Choice(list(POLICIES)),
        default="aide",
        show_default=True,
        help="How the search chooses the next script to change.",
    ),
    click.option(
        "--fidelity",
        type=click.Choice([f.value for f in SearchFidelity]),
        default="paper",
        show_default=True,
        help="released: repeat the search faults of the paper's code.",
    ),
    click.option(
        "--model",
        metavar="FILE|scripted",
        help="Profile of an endpoint and its model (TOML); scripted: answers from a file, not a model.",
    ),
    click.option(
        "--answers",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Answers for --model scripted.  [default: those of the package]",
    ),
    click.option(
        "--hints",
        "levels",
        default="0",
        show_default=True,
        metavar="L[,L..]",
        help="Hint levels to show: 0 for none, or some of 1,2,3.",
    ),
    click.option(
        "--knowledge",
        type=click.Path(path_type=Path),
        multiple=True,
        help="Text file that every prompt shows. Repeatable.",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Seed of the search."
    ),
    click.option("--nodes", type=click.IntRange(1, 1000), help="Nodes of the search.  [default: 20]"),
    click.option(
        "--budget",
        default="",
        metavar="KEY=N,..",
        help="Limits: nodes, evaluations, gpu-hours, wall, usd, tokens, prompt-tokens, completion-tokens.",
    ),
    click.option(
        "--controls",
        type=click.IntRange(0, 100),
        default=0,
        show_default=True,
        help="Evaluations of the unchanged start script before the search.",
    ),
)
_MACHINE_OPTIONS = (
    task_profile_option,
    click.option(
        "--start-time",
        "start_s",
        type=DEADLINE,
        metavar="DURATION",
        help="Training time of the start script on this machine.  [default: the record's]",
    ),
    image_option,
    click.option(
        "--gpus", type=click.IntRange(min=0), metavar="N", help="Number of GPUs of a full run.  [default: 8]"
    ),
    python_option,
)


runs_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("agent-runs"),
    show_default=True,
    help="Directory for runs of agents.",
)


def search_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that say how a search goes."""
    return with_options(command, _SEARCH_OPTIONS)


def machine_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that say how its scripts are evaluated, but for the runtime."""
    return with_options(command, _MACHINE_OPTIONS)


def run_request(options: dict[str, Any], task: int | str | None, flag: str) -> RunRequest:
    """
    Return the request that the options state for a task, which the option `flag` names.

    Raises `UsageError` if the task or the model is missing.
    """
    from kit.agent.session import RunRequest

    if task is None or options["model"] is None:
        missing = flag if task is None else "--model"
        raise UsageError(f"{missing} is missing", f"for example: {flag} smoke-1 --model scripted")
    model, script = _model(options["model"], options["answers"])
    policy = POLICIES[options["scaffold"]]
    if options["nodes"] is not None:
        policy = replace(policy, max_nodes=options["nodes"])
    return RunRequest(
        evaluation=_evaluation(options, task),
        hints=hint_numbers(options["levels"]),
        policy=policy,
        fidelity=SearchFidelity(options["fidelity"]),
        controls=options["controls"],
        seed=options["seed"],
        budget=parse_budget(options["budget"]) if options["budget"] else Budget(),
        model=model,
        script=script,
        knowledge=load_knowledge(options["knowledge"]),
        start_ms=_milliseconds(options["start_s"]),
        target_ms=_milliseconds(options.get("target_s")),
    )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds


def _model(name: str, answers: Path | None) -> tuple[ModelProfile, AnswerScript | None]:
    if name == SCRIPTED:
        script = packaged_answers() if answers is None else load_script(answers)
        return script.profile(), script
    if answers is not None:
        raise UsageError("--answers needs --model scripted", "omit --answers")
    return load_profile(Path(name)), None


def _evaluation(options: dict[str, Any], task: int | str) -> Request:
    profile = options["profile"] or ("smoke" if is_smoke(str(task)) else "full")
    selected = select_runtime(options["runtime"])
    return Request(
        record=task,
        profile=Profile(profile),
        runtime=selected.name,
        image=options["image"],
        gpus=options["gpus"],
        python=guest_python(options["python"]),
        engine=selected.engine,
    )


def stored_request(spec: AgentSpec, runtime: str, python: Path | None) -> Request:
    """Return the request of a stored run's evaluations."""
    settings = spec.evaluation
    return Request(
        record=listed_as(spec.task),
        profile=Profile(settings.profile),
        runtime=RuntimeName(settings.runtime),
        image=settings.image,
        gpus=settings.gpus or None,
        python=guest_python(python),
        engine=select_runtime(PODMAN if runtime == PODMAN else settings.runtime).engine,
    )

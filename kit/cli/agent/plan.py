"""Print the most that a run can spend, before anything is spent."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from kit.agent.costs import RERUNS, WorstCase
from kit.agent.session import AgentRun
from kit.agent.spec import AgentSpec, spec_sha256
from kit.cli.terminal import emit_json, say
from kit.core.codec import encode


def show_plan(run: AgentRun, worst: WorstCase, retime: int, as_json: bool) -> None:
    """Print the plan of a run on stdout."""
    if as_json:
        emit_json(document(run, worst))
    else:
        say(*lines(run, worst, retime))


def document(run: AgentRun, worst: WorstCase) -> dict[str, Any]:
    """Return the plan as one JSON object."""
    context = {**asdict(worst.context), "fits": worst.context.fits, "always_fits": worst.context.always_fits}
    return {
        "folder": str(run.folder),
        "spec": encode(AgentSpec, run.spec),
        "spec_sha256": spec_sha256(run.spec),
        "most": {**asdict(worst), "context": context, "gpu_hours": worst.gpu_seconds / 3600},
    }


def lines(run: AgentRun, worst: WorstCase, retime: int) -> list[str]:
    """Return the plan as lines for a person."""
    spec, settings = run.spec, run.spec.evaluation
    hints = ", ".join(map(str, spec.hints)) or "none"
    text = [
        f"task       {spec.task}, profile {settings.profile}; hints: {hints}",
        f"scaffold   {spec.policy.name}, {spec.policy.max_nodes} nodes, fidelity {spec.fidelity}, "
        f"seed {spec.seed}",
        f"model      {spec.model.name}",
        f"evaluation runtime {settings.runtime}, image {settings.image}, GPUs: {settings.gpus or 'none'}, "
        f"at most {_minutes(settings.worst_wall_s)} each",
        f"times      {_times(run)}",
        f"directory  {run.folder}",
        "",
        "At most, this run uses:",
        f"  nodes        {worst.nodes}, and {spec.controls} control",
        f"  calls        {worst.calls}, with {spec.budget.repairs_per_node} repairs a node",
        f"  tokens       {_tokens(run, worst)}",
        f"  USD          {_usd(worst)}",
        f"  evaluations  {worst.evaluations}",
        f"  GPU-hours    {worst.gpu_seconds / 3600:,.1f}",
        f"  wall time    {_wall(run, worst)}",
    ]
    if retime:
        text.append(
            f"  re-timing    {worst.retime_runs} runs, {retime} of the winner and {RERUNS} for the audits of "
            f"each: {worst.retime_gpu_seconds / 3600:,.1f} GPU-hours, {_minutes(worst.retime_wall_s)}"
        )
    return [*text, "", _context(worst)]


def _times(run: AgentRun) -> str:
    settings = run.spec.evaluation
    if settings.start_ms is None or settings.target_ms is None:
        return "of start and target are not known, so there is no FSR"
    given = run.task.reference is None or run.task.reference.start_ms != settings.start_ms
    source = "given by you" if given else run.task.reference.source if run.task.reference else ""
    return f"start {settings.start_ms / 1000:g} s, target {settings.target_ms / 1000:g} s ({source})"


def _tokens(run: AgentRun, worst: WorstCase) -> str:
    if run.profile.is_scripted:
        return "none: the answers come from a file, this is not a model"
    return (
        f"{worst.prompt_tokens:,} of prompts and {worst.completion_tokens:,} of answers, failed requests too"
    )


def _usd(worst: WorstCase) -> str:
    return "unknown: the profile has no prices" if worst.usd is None else f"{worst.usd:,.2f}"


def _wall(run: AgentRun, worst: WorstCase) -> str:
    if worst.wall_s is not None:
        return _minutes(worst.wall_s)
    evaluations = worst.evaluations * run.spec.evaluation.worst_wall_s
    return f"{_minutes(evaluations)} of evaluations; calls are bounded only by --budget wall=..."


def _minutes(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 7200 else f"{seconds / 60:,.0f} min"


def _context(worst: WorstCase) -> str:
    check = worst.context
    sizes = (
        f"the first prompt has at most {check.first_prompt:,} tokens, later ones {check.later_prompt:,}, an "
        f"answer {check.output:,}; the model's context has {check.context:,}"
    )
    if not check.fits:
        return f"The prompts do not fit: {sizes}."
    return f"The prompts fit: {sizes}." if check.always_fits else f"Later prompts may not fit: {sizes}."

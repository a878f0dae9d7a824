"""What a budget does not hold, in the units of `--budget`."""

from __future__ import annotations

import math

from kit.agent.budget import Amounts, BudgetLimit, BudgetStop, Spent, check
from kit.agent.spec import AgentSpec

_BEGUN = Spent(Amounts(wall_s=1.0))
"""What a session has spent at least when its first evaluation asks for its budget."""


def refusal_text(stop: BudgetStop, worst: Amounts) -> str:
    """Return why the budget refuses a call that spends at most `worst`, for the agent."""
    end = "Nothing was run or charged; ask for less, or see the tool budget."
    if stop.limit is BudgetLimit.EVALUATIONS:
        return f"refused: none of the {stop.allowed:g} evaluations of the budget is left. {end}"
    what = "an evaluation" if worst.evaluations else "this call"
    name = "h of wall time" if stop.limit is BudgetLimit.WALL_S else "GPU-hours"
    return (
        f"refused: {what} can take {_up(stop.worst)} {name}, and the budget of "
        f"{stop.allowed / 3600:g} has {_down(stop.allowed - stop.spent)} left. {end}"
    )


def no_evaluation(spec: AgentSpec) -> str | None:
    """Return why the budget of a new session holds no evaluation, and what to pass; None if it holds one."""
    settings = spec.evaluation
    worst = Amounts(
        nodes=1, evaluations=1, gpu_seconds=settings.worst_gpu_seconds, wall_s=settings.worst_wall_s
    )
    stop = check(spec.budget, _BEGUN, worst)
    if stop is None:
        return None
    minutes = f"{settings.worst_wall_s / 60:g} min"
    match stop.limit:
        case BudgetLimit.GPU_SECONDS:
            hours = f"{_up(stop.worst)} GPU-hours ({minutes} on {settings.gpus} GPUs)"
            return f"one can take {hours}; raise gpu-hours, or lower --total-deadline"
        case BudgetLimit.WALL_S:
            own = "the session's own seconds count too"
            return f"one can take {minutes}, and {own}; raise wall, or lower --total-deadline"
        case _:
            return f"raise {stop.limit.value}"


def _up(seconds: float) -> str:
    """Return hours, rounded so that they never look like ones that would fit."""
    return f"{math.ceil(round(seconds / 3.6, 6)) / 1000:g}"


def _down(seconds: float) -> str:
    return f"{math.floor(round(max(0.0, seconds) / 3.6, 6)) / 1000:g}"

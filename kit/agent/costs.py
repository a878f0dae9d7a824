"""The prices of a profile's calls (`ProfilePrices`), and the most that a run can cost (`worst_case`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kit.agent.budget import Budget, capped
from kit.agent.feedback import MAX_FEEDBACK
from kit.agent.llm.price import cost_usd, worst_usd
from kit.agent.llm.profile import PROMPT_BYTES_PER_TOKEN, ModelProfile, prompt_bound
from kit.agent.llm.retry import BILLED_ATTEMPTS
from kit.agent.llm.wire import ChatRequest, Message, TokenUsage
from kit.agent.prompt import MAX_HISTORY
from kit.agent.spec import AgentSpec
from kit.core.errors import UsageError

RERUNS = 5
"""Further runs of one evaluation with all audits."""


class ProfilePrices:
    """What the calls of a profile cost. Answers from a file use no tokens and cost nothing."""

    def __init__(self, profile: ModelProfile) -> None:
        self._profile = profile

    @property
    def known(self) -> bool:
        """See `kit.agent.steps.CallPrices`."""
        return self._profile.is_scripted or self._profile.prices is not None

    def worst(self, request: ChatRequest) -> tuple[TokenUsage, float | None]:
        """See `kit.agent.steps.CallPrices`."""
        if self._profile.is_scripted:
            return TokenUsage(0, 0), 0.0
        prompt = BILLED_ATTEMPTS * min(prompt_bound(request), self._profile.context_tokens)
        output = BILLED_ATTEMPTS * request.max_output_tokens
        return TokenUsage(prompt, output), worst_usd(prompt, output, self._profile.prices)

    def cost_usd(self, usage: TokenUsage) -> float | None:
        """See `kit.agent.steps.CallPrices`."""
        return 0.0 if self._profile.is_scripted else cost_usd(usage, self._profile.prices)


@dataclass(frozen=True, slots=True)
class ContextCheck:
    """Whether the prompts of a run fit into the model's context. All numbers are upper bounds in tokens."""

    first_prompt: int
    later_prompt: int
    """With the longest results and history, and a script of the same size."""
    output: int
    context: int

    @property
    def fits(self) -> bool:
        """Tell whether the first prompt and an answer fit."""
        return self.first_prompt + self.output <= self.context

    @property
    def always_fits(self) -> bool:
        """Tell whether later prompts fit as well."""
        return self.later_prompt + self.output <= self.context


@dataclass(frozen=True, slots=True)
class MostSpent:
    """The most that a run can spend, by its spec. None: no bound is known."""

    nodes: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    evaluations: int
    gpu_seconds: float
    wall_s: float | None
    """By deadlines and budget. Waiting for an endpoint is bounded by the budget alone."""
    retime_runs: int
    """Runs of guests after the search, with the audits' own."""
    retime_gpu_seconds: float
    retime_wall_s: float
    context: ContextCheck


def worst_case(
    spec: AgentSpec, profile: ModelProfile, first: Sequence[Message], retime: int = 0
) -> MostSpent:
    """Return the most that the run of `spec` can spend; `first` are the messages of its first call."""
    budget, settings = spec.budget, spec.evaluation
    nodes = capped(spec.policy.max_nodes, budget.nodes)
    calls = nodes * (1 + budget.repairs_per_node)
    context = context_check(profile, first)
    prompt = 0 if profile.is_scripted else min(profile.context_tokens, max(context.later_prompt, 1))
    output = 0 if profile.is_scripted else profile.max_output_tokens
    requests = BILLED_ATTEMPTS * calls
    usd = 0.0 if profile.is_scripted else worst_usd(requests * prompt, requests * output, profile.prices)
    evaluations = capped(nodes + spec.controls, budget.evaluations)
    runs = retime * (1 + RERUNS)
    return MostSpent(
        nodes=nodes,
        calls=calls,
        prompt_tokens=capped(requests * prompt, budget.prompt_tokens, budget.tokens),
        completion_tokens=capped(requests * output, budget.completion_tokens, budget.tokens),
        usd=usd if budget.usd is None else budget.usd if usd is None else min(usd, budget.usd),
        evaluations=evaluations,
        gpu_seconds=capped(evaluations * settings.worst_gpu_seconds, budget.gpu_seconds),
        wall_s=_wall_s(evaluations * settings.worst_wall_s, budget, profile),
        retime_runs=runs,
        retime_gpu_seconds=runs * settings.worst_gpu_seconds,
        retime_wall_s=runs * settings.worst_wall_s,
        context=context,
    )


def context_check(profile: ModelProfile, first: Sequence[Message]) -> ContextCheck:
    """Return whether prompts like `first` fit into the profile's context."""
    prompt = prompt_bound(profile.request(tuple(first)))
    more = -(-4 * (MAX_FEEDBACK + MAX_HISTORY) // PROMPT_BYTES_PER_TOKEN)
    return ContextCheck(prompt, prompt + more, profile.max_output_tokens, profile.context_tokens)


def require_context(check: ContextCheck) -> None:
    """Raise `UsageError` if not even the first prompt fits."""
    if not check.fits:
        raise UsageError(
            f"the first prompt has up to {check.first_prompt:,} tokens; with {check.output:,} for the answer "
            f"it does not fit into the model's context of {check.context:,}",
            "use a model with a larger context, or lower max_output_tokens in the profile; give fewer hints "
            "and less knowledge",
        )


def _wall_s(evaluations_s: float, budget: Budget, profile: ModelProfile) -> float | None:
    if budget.wall_s is not None:
        return budget.wall_s
    return evaluations_s if profile.is_scripted else None

"""A model that a judgement or a probe asks, whose recorded answers are not asked for again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kit.agent.llm.profile import ModelProfile, prompt_bound
from kit.agent.llm.record import CallRecord
from kit.agent.llm.wire import CallKey, CallOutcome, ChatRequest, Transport
from kit.core.errors import RunError, UsageError

CALL_LIMIT_S = 3600.0
"""Longest time of one call with its retries, in seconds."""


@dataclass(frozen=True, slots=True)
class AskedModel:
    """What asks the model."""

    profile: ModelProfile
    transport: Transport
    record: Callable[[CallRecord], None] = lambda record: None
    """Called after each call."""
    cancelled: Callable[[], bool] = lambda: False
    known: Callable[[CallKey], CallRecord | None] = lambda place: None
    """Returns a recorded call, so that an interrupted command goes on where it was."""

    def outcome(self, place: CallKey, request: ChatRequest) -> CallOutcome:
        """
        Return the recorded answer to this very request, or call the model.

        Raises `RunError` if it was cancelled, and as the transport does.
        """
        known = self.known(place)
        if known is not None and known.request == request and known.outcome.fault is None:
            return known.outcome
        outcome = self.transport.call(request, place, CALL_LIMIT_S, self.cancelled)
        if self.cancelled():
            raise RunError("interrupted", "run the same command again: it goes on with the recorded answers")
        self.record(CallRecord(place, request, outcome))
        return outcome


def require_fit(profile: ModelProfile, request: ChatRequest, what: str) -> None:
    """Raise `UsageError` if a prompt, which `what` names, and its answer may not fit into the context."""
    needed = prompt_bound(request) + profile.max_output_tokens
    if needed > profile.context_tokens:
        raise UsageError(
            f"{what} and its answer may have {needed:,} tokens, and context_tokens of profile "
            f"{profile.name!r} is {profile.context_tokens:,}",
            "use a model with a longer context, or lower max_output_tokens in the profile",
        )

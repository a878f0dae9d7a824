"""
The steps of one node: calls, edits, evaluations. Each is paid for once and survives a kill.

A node is solved by running its steps from the first. A step that the journal already has is not repeated: its
recorded result is returned. So a resumed node takes the same way as an uninterrupted one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from kit.agent.budget import Amounts, wall_left_s
from kit.agent.calls import CallRecords, outcome_sha256, request_sha256
from kit.agent.edit.apply import EditResult
from kit.agent.evaluator import Evaluator
from kit.agent.events import (
    AttemptSummary,
    CallEnded,
    CallStarted,
    Edited,
    EvaluationEnded,
    EvaluationLost,
    EvaluationReserved,
)
from kit.agent.ledger import Interrupted, Ledger
from kit.agent.llm.wire import CallFault, CallKey, CallOutcome, ChatRequest, Message, TokenUsage, Transport
from kit.agent.node import EvaluationOutcome, EvaluationStatus, Node
from kit.agent.nodefiles import Files, NodeFiles
from kit.agent.spent import billed
from kit.core.digest import Sha256
from kit.core.errors import IntegrityError, PrerequisiteError

AGAIN = 3
"""How often a lost evaluation is repeated."""

_HOPELESS = {
    CallFault.AUTH: "set the endpoint's key, then resume the run",
    CallFault.NOT_FOUND: "check base_url and model in the profile",
    CallFault.BAD_REQUEST: "check the parameters in the profile",
    CallFault.WRONG_MODEL: "allow the model in the profile, or use another endpoint",
    CallFault.UNREACHABLE: "start the endpoint, then resume the run; another base_url makes another run",
}
"""Faults that every further call would have: the run stops and can be resumed."""


class CallPrices(Protocol):
    """What calls cost."""

    @property
    def known(self) -> bool:
        """Tell whether the prices are known."""
        ...

    def worst(self, request: ChatRequest) -> tuple[TokenUsage, float | None]:
        """Return the most tokens that a call can use, with its retries, and the most USD, if known."""
        ...

    def cost_usd(self, usage: TokenUsage) -> float | None:
        """Return the cost of reported usage; None if it is unknown."""
        ...


@dataclass(frozen=True, slots=True)
class StepParts:
    """What makes calls and evaluations."""

    transport: Transport
    evaluator: Evaluator
    prices: CallPrices
    records: CallRecords


class NodeSteps:
    """The steps of one node, in order."""

    def __init__(self, node: Node, ledger: Ledger, parts: StepParts) -> None:
        self.node = node
        self._ledger, self._parts = ledger, parts
        self._past = ledger.of_node(node.id)
        self._calls = 0
        self._files = NodeFiles(ledger.run, node.id)

    @property
    def repairs(self) -> int:
        """The number of further calls after a refused answer."""
        return self._ledger.spec.budget.repairs_per_node

    def show_prompt(self, messages: tuple[Message, ...]) -> None:
        """Write the node's prompt for people to read."""
        self._files.write_prompt(messages)

    def call(self, request: ChatRequest) -> CallOutcome:
        """
        Make the node's next call.

        Raises `BudgetSpent` and `Interrupted`; `PrerequisiteError` for a fault that every further call would
        have; `IntegrityError` if the journal has another request for this call.
        """
        self._calls += 1
        key, digest = CallKey(self.node.id, self._calls), request_sha256(request)
        outcome = self._recorded(key, digest) or self._made(key, digest, request)
        if outcome.response is not None:
            self._files.write_answer(key.call, outcome.response.text)
        return outcome

    def _recorded(self, key: CallKey, digest: Sha256) -> CallOutcome | None:
        mine = [e for e in self._past if isinstance(e, CallStarted | CallEnded) and e.call == key.call]
        started = next((e for e in mine if isinstance(e, CallStarted)), None)
        if started is not None and started.request_sha256 != digest:
            raise IntegrityError(
                f"call {key.call} of node {key.node} has another request than the journal says",
                "resume the run with the version of the kit and the prompts that started it",
            )
        ended = mine[-1] if mine else None
        if not isinstance(ended, CallEnded) or must_ask_again(ended.fault):
            return None
        outcome = self._parts.records.load(key, digest)
        if outcome is None or outcome_sha256(outcome) != ended.outcome_sha256:
            raise IntegrityError(
                f"the record of call {key.call} of node {key.node} is missing or changed",
                "restore the directory calls/ from a copy",
            )
        return outcome

    def _made(self, key: CallKey, digest: Sha256, request: ChatRequest) -> CallOutcome:
        ledger, parts = self._ledger, self._parts
        usage, usd = parts.prices.worst(request)
        prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
        ledger.proceed(Amounts(prompt_tokens=prompt, completion_tokens=completion, usd=usd or 0.0))
        ledger.write(CallStarted(key.node, key.call, digest, prompt, completion, usd))
        left = wall_left_s(ledger.spec.budget, ledger.spent)
        outcome = parts.transport.call(request, key, left, ledger.cancelled)
        outcome = parts.records.save(key, request, outcome)
        ledger.write(call_ended(key, request.model, outcome, parts.prices))
        if outcome.fault is CallFault.CANCELLED:
            raise Interrupted
        if outcome.fault in _HOPELESS:
            refused = f"the endpoint refused the call: {outcome.fault}: "
            told = "" if outcome.fault is CallFault.UNREACHABLE else refused
            raise PrerequisiteError(f"{told}{outcome.detail[:500]}", _HOPELESS[outcome.fault])
        return outcome

    def edited(self, result: EditResult) -> None:
        """Record what became of the last call's answer."""
        submission = diff = None
        if result.applied is not None:
            submission = self._files.write_submission(result.applied)
            diff = self._files.write_diff(result.diff)
        event = Edited(self.node.id, self._calls, result.applied is not None, result.reason, submission, diff)
        past = [e for e in self._past if isinstance(e, Edited) and e.call == self._calls]
        if not past:
            self._ledger.write(event)
        elif (past[0].applied, past[0].submission_sha256) != (event.applied, submission):
            raise IntegrityError(
                f"the edit of call {self._calls} of node {self.node.id} differs from the journal",
                "resume the run with the version of the kit that started it",
            )

    def evaluate(self, files: Files) -> EvaluationOutcome | None:
        """
        Evaluate the node's submission; return None if it was lost more often than it is repeated.

        Raises `BudgetSpent` and `Interrupted`, and `PrerequisiteError` if no evaluation can start.
        """
        if self.node.evaluation is not None:
            return self.node.evaluation
        if sum(isinstance(e, EvaluationLost) for e in self._past) > AGAIN:
            return None
        ledger = self._ledger
        self._files.write_submission(files)
        ledger.proceed(ledger.evaluation_worst())
        reserved: list[str] = []

        def reserve(run_id: str) -> None:
            ledger.write(EvaluationReserved(self.node.id, run_id))
            reserved.append(run_id)

        with self._files.private_copy(files) as copy:
            run = self._parts.evaluator.evaluate(copy, reserve, ledger.cancelled)
        if reserved != [run.outcome.run_id]:
            raise IntegrityError(f"evaluation {run.outcome.run_id} was not reserved under its id")
        self._files.write_evaluated(run)
        ended: EvaluationEnded = ledger.write(EvaluationEnded(self.node.id, run.outcome))
        if ended.outcome.status is EvaluationStatus.CANCELLED:
            raise Interrupted
        return ended.outcome


def must_ask_again(fault: CallFault | None) -> bool:
    """Tell whether a resumed run repeats a call that ended with this fault."""
    return fault is CallFault.CANCELLED or fault in _HOPELESS


def call_ended(key: CallKey, asked_model: str, outcome: CallOutcome, prices: CallPrices) -> CallEnded:
    """Return the event of a call that has an outcome."""
    response = outcome.response
    attempts = tuple(
        AttemptSummary(a.number, a.fault, a.http_status, a.waited_s, a.latency_s, a.request_id, a.usage)
        for a in outcome.attempts
    )
    ended = CallEnded(
        node=key.node,
        call=key.call,
        outcome_sha256=outcome_sha256(outcome),
        fault=outcome.fault,
        usage=None if response is None else response.usage,
        cost_usd=None,
        latency_s=sum(a.latency_s for a in attempts),
        waited_s=sum(a.waited_s for a in attempts),
        attempts=attempts,
        asked_model=asked_model,
        answered_model=None if response is None else response.answered_model,
        finish_reason=None if response is None else response.finish_reason,
        request_id=None if response is None else response.request_id,
    )
    return replace(ended, cost_usd=_cost(ended, prices))


def _cost(ended: CallEnded, prices: CallPrices) -> float | None:
    """Return the cost of all reported usage; None if there is none, or a part has no known cost."""
    costs = [prices.cost_usd(usage) for usage in billed(ended) if usage != TokenUsage()]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if prices.known and len(known) == len(costs) else None

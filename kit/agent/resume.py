"""Take over a run whose process ended: close the call and the evaluation that it left open."""

from __future__ import annotations

from kit.agent.calls import CallRecords
from kit.agent.evaluator import Evaluator
from kit.agent.events import (
    CallEnded,
    CallLost,
    CallStarted,
    EvaluationEnded,
    EvaluationLost,
    EvaluationReserved,
    Event,
    Resumed,
)
from kit.agent.ledger import Ledger
from kit.agent.llm.wire import CallKey
from kit.agent.nodefiles import NodeFiles
from kit.agent.steps import CallPrices, StepParts, call_ended


def take_over(ledger: Ledger, parts: StepParts, cut_bytes: int) -> None:
    """
    Note the resumption, and end what the earlier process left open.

    A call whose outcome was recorded ends with it. Any other may have been billed: it is lost, charged at its
    worst case, and asked again. An evaluation ends with its bundle if that is finished; else it is lost.
    """
    last = ledger.events[-1]
    ledger.write(Resumed(_description(last), cut_bytes))
    call = _open_call(ledger.events)
    if call is not None:
        _close_call(ledger, call, parts.records, parts.prices, _asked_model(ledger))
    evaluation = _open_evaluation(ledger.events)
    if evaluation is not None:
        _close_evaluation(ledger, evaluation, parts.evaluator)


def _description(last: Event) -> str:
    match last:
        case CallStarted():
            return f"the last process ended during call {last.call} of node {last.node}"
        case EvaluationReserved():
            return f"the last process ended during the evaluation of node {last.node}"
        case _:
            return "the last process ended between two steps"


def _asked_model(ledger: Ledger) -> str:
    return ledger.spec.model.name


def _open_call(events: tuple[Event, ...]) -> CallStarted | None:
    calls = [e for e in events if isinstance(e, CallStarted | CallEnded | CallLost)]
    last = calls[-1] if calls else None
    return last if isinstance(last, CallStarted) else None


def _open_evaluation(events: tuple[Event, ...]) -> EvaluationReserved | None:
    kinds = EvaluationReserved | EvaluationEnded | EvaluationLost
    evaluations = [e for e in events if isinstance(e, kinds)]
    last = evaluations[-1] if evaluations else None
    return last if isinstance(last, EvaluationReserved) else None


def _close_call(
    ledger: Ledger, call: CallStarted, records: CallRecords, prices: CallPrices, model: str
) -> None:
    key = CallKey(call.node, call.call)
    outcome = records.load(key, call.request_sha256)
    if outcome is not None:
        ledger.write(call_ended(key, model, outcome, prices))
    else:
        ledger.write(
            CallLost(
                call.node, call.call, call.worst_prompt_tokens, call.worst_completion_tokens, call.worst_usd
            )
        )


def _close_evaluation(ledger: Ledger, evaluation: EvaluationReserved, evaluator: Evaluator) -> None:
    run = evaluator.close(evaluation.run_id)
    if run is not None:
        NodeFiles(ledger.run, evaluation.node).write_evaluated(run)
        ledger.write(EvaluationEnded(evaluation.node, run.outcome))
        return
    worst = ledger.evaluation_worst()
    ledger.write(EvaluationLost(evaluation.node, evaluation.run_id, worst.gpu_seconds, worst.wall_s))

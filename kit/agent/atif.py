"""
Export a run as a trajectory in ATIF v1.8, the format of Harbor.

The root trajectory has one step for each node, without a call of a model; each node is a trajectory of its
own in `subagent_trajectories`, with the prompts, answers, edits and the evaluation. Sums are the journal's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kit.agent.events import CallEnded, CallLost, Edited, EvaluationEnded, NodeReserved
from kit.agent.llm.wire import ChatRole, Message
from kit.agent.node import ActionKind, EvaluationOutcome, Node
from kit.agent.recorded import (
    NodeAccount,
    RecordedRun,
    account_of,
    ended_at,
    ended_calls,
    read_call,
    status_word,
)
from kit.agent.spec import run_id, spec_sha256
from kit.agent.tree import START

ATIF = "ATIF-v1.8"
NAME = "speedrun-kit"


def trajectory_of(run: RecordedRun) -> dict[str, Any]:
    """
    Return a run as an ATIF document.

    Calls that have not ended are left out. Raises `PrerequisiteError` and `IntegrityError` if the record of a
    call is missing or changed.
    """
    steps = _numbered([_opening(run), *(_dispatch(run, node) for node in run.tree.nodes), *_closing(run)])
    return {
        "schema_version": ATIF,
        "session_id": run_id(run.spec),
        "trajectory_id": run_id(run.spec),
        "agent": _agent(run),
        "steps": steps,
        "final_metrics": _final(run.account(), len(steps)),
        "extra": {
            "spec_sha256": spec_sha256(run.spec),
            "journal_head": run.contents.head,
            "winner": run.tree.winner(),
            "ended": run.tree.ended is not None,
            "unknown_usd": run.spent.unknown.usd,
            "unknown_tokens": run.spent.unknown.prompt_tokens + run.spent.unknown.completion_tokens,
        },
        **({"subagent_trajectories": [_node(run, n) for n in run.tree.nodes]} if run.tree.nodes else {}),
    }


def _agent(run: RecordedRun) -> dict[str, Any]:
    spec = run.spec
    return {
        "name": f"{NAME}/{spec.policy.name}",
        "version": spec.kit_version,
        "model_name": spec.model.name,
        "extra": {
            "task": str(spec.task),
            "hints": list(spec.hints),
            "seed": spec.seed,
            "fidelity": spec.fidelity.value,
        },
    }


def _opening(run: RecordedRun) -> dict[str, Any]:
    spec = run.spec
    hints = f"hints {', '.join(map(str, spec.hints))}" if spec.hints else "no hints"
    text = f"Search for a faster script: task {spec.task}, scaffold {spec.policy.name}, {hints}."
    return {"source": "system", "timestamp": run.lines[0].time, "message": text}


def _dispatch(run: RecordedRun, node: Node) -> dict[str, Any]:
    """Return the root's step for a node: the scaffold reserved it; no model was asked for that."""
    reserved = next(line for line in run.of_node(node.id) if isinstance(line.event, NodeReserved))
    call = f"node-{node.id:03d}"
    reference = {"trajectory_id": _node_id(run, node), "session_id": run_id(run.spec)}
    return {
        "source": "agent",
        "timestamp": reserved.time,
        "message": _purpose(node),
        "llm_call_count": 0,
        "tool_calls": [
            {
                "tool_call_id": call,
                "function_name": "solve_node",
                "arguments": {"action": node.action.kind.value, "parent": node.action.parent},
            }
        ],
        "observation": {
            "results": [
                {
                    "source_call_id": call,
                    "content": f"{status_word(node)}: {node.reason}" if node.reason else status_word(node),
                    "subagent_trajectory_ref": [reference],
                }
            ]
        },
    }


def _purpose(node: Node) -> str:
    parent = "the start script" if node.action.parent == START else f"node {node.action.parent}"
    return f"Node {node.id}: {node.action.kind.value} of {parent}"


def _closing(run: RecordedRun) -> Iterator[dict[str, Any]]:
    if run.tree.ended is not None:
        winner = run.tree.ended.winner
        best = "no valid node" if winner is None else f"the fastest valid node is {winner}"
        text = f"The run ended ({run.tree.ended.reason.value}): {best}."
        yield {"source": "system", "timestamp": run.lines[-1].time, "message": text}


def _node_id(run: RecordedRun, node: Node) -> str:
    return f"{run_id(run.spec)}-node-{node.id:03d}"


def _node(run: RecordedRun, node: Node) -> dict[str, Any]:
    steps = _numbered(list(_node_steps(run, node)))
    return {
        "schema_version": ATIF,
        "session_id": run_id(run.spec),
        "trajectory_id": _node_id(run, node),
        "agent": _agent(run),
        "steps": steps,
        "final_metrics": _final(run.account(node.id), len(steps)),
        "extra": {
            "node": node.id,
            "action": node.action.kind.value,
            "parent": node.action.parent,
            "status": status_word(node),
            "reason": node.reason,
            "submission_sha256": node.submission_sha256,
            "ended_at": ended_at(run, node.id),
            **_outcome(node.evaluation),
        },
    }


def _outcome(outcome: EvaluationOutcome | None) -> dict[str, Any]:
    if outcome is None:
        return {}
    return {
        "run_id": outcome.run_id,
        "bundle_sha256": outcome.bundle_sha256,
        "time_ms": outcome.time_ms,
        "val_loss": outcome.val_loss,
        "fsr": outcome.fsr,
        "gpu_seconds": outcome.gpu_seconds,
    }


def _node_steps(run: RecordedRun, node: Node) -> Iterator[dict[str, Any]]:
    lines = run.of_node(node.id)
    calls = ended_calls(line.event for line in lines)
    evaluated = [line for line in lines if isinstance(line.event, EvaluationEnded)]
    if not calls:
        yield _without_call(node, lines[0].time, [line.event for line in evaluated])
        return
    for started, ended in calls:
        request, outcome = read_call(run.folder, node.id, ended.call)
        of_call = [line for line in lines if getattr(line.event, "call", None) == started.call]
        yield from (_said(message, of_call[0].time) for message in _new(request.messages))
        events = [line.event for line in of_call if isinstance(line.event, CallEnded | CallLost)]
        done: list[Any] = [line.event for line in of_call if isinstance(line.event, Edited)]
        if ended is calls[-1][1]:
            done += [line.event for line in evaluated]
        response = outcome.response
        reasoning = None if response is None else response.reasoning
        yield {
            "source": "agent",
            "timestamp": next(line.time for line in of_call if line.event is ended),
            "model_name": ended.answered_model or ended.asked_model,
            "message": "" if response is None else response.text,
            **({"reasoning_content": reasoning} if reasoning else {}),
            "metrics": _metrics(account_of(events)),
            "llm_call_count": max(1, account_of(events).requests),
            "extra": {
                "call": ended.call,
                "fault": None if ended.fault is None else ended.fault.value,
                "finish_reason": ended.finish_reason,
                "request_id": ended.request_id,
                "latency_s": ended.latency_s,
                "waited_s": ended.waited_s,
            },
            **_tools(done),
        }


def _without_call(node: Node, time: str, evaluated: list[Any]) -> dict[str, Any]:
    """Return the only step of a node for which no model answered, such as a control node."""
    if not evaluated:
        return {"source": "system", "timestamp": time, "message": f"{_purpose(node)}: no call has ended."}
    unchanged = "the parent unchanged" if node.action.kind is ActionKind.CONTROL else "a script"
    return {
        "source": "agent",
        "timestamp": time,
        "message": f"{_purpose(node)}: {unchanged} is evaluated.",
        "llm_call_count": 0,
        **_tools(evaluated),
    }


def _new(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the messages of a request that were not part of the one before it."""
    answers = [i for i, message in enumerate(messages) if message.role is ChatRole.ASSISTANT]
    return messages[answers[-1] + 1 :] if answers else messages


def _said(message: Message, time: str) -> dict[str, Any]:
    source = "system" if message.role is ChatRole.SYSTEM else "user"
    return {"source": source, "timestamp": time, "message": message.content}


def _tools(done: list[Any]) -> dict[str, Any]:
    """Return what the host did with an answer, as calls of tools with their results."""
    calls, results = [], []
    for number, event in enumerate(done):
        match event:
            case Edited():
                name, arguments = "apply_edit", {"call": event.call}
                content = f"{'applied' if event.applied else 'refused'}: {event.reason}"
                extra = {"submission_sha256": event.submission_sha256, "diff_sha256": event.diff_sha256}
            case EvaluationEnded():
                name, arguments = "evaluate", {}
                content = f"{event.outcome.status.value}: {event.outcome.reason}"
                extra = _outcome(event.outcome)
            case _:
                continue
        call = f"{name}-{number + 1}"
        calls.append({"tool_call_id": call, "function_name": name, "arguments": arguments})
        results.append({"source_call_id": call, "content": content, "extra": extra})
    return {"tool_calls": calls, "observation": {"results": results}} if calls else {}


def _metrics(account: NodeAccount) -> dict[str, Any]:
    tokens = account.tokens
    return {
        "prompt_tokens": tokens.prompt_tokens,
        "completion_tokens": tokens.completion_tokens,
        "cached_tokens": tokens.cached_tokens,
        "cost_usd": account.cost_usd,
        "extra": _more(account),
    }


def _final(account: NodeAccount, steps: int) -> dict[str, Any]:
    tokens = account.tokens
    return {
        "total_prompt_tokens": tokens.prompt_tokens,
        "total_completion_tokens": tokens.completion_tokens,
        "total_cached_tokens": tokens.cached_tokens,
        "total_cost_usd": account.cost_usd,
        "total_steps": steps,
        "extra": {**_more(account), "calls": account.calls, "gpu_seconds": account.gpu_seconds},
    }


def _more(account: NodeAccount) -> dict[str, Any]:
    """Return what ATIF has no field for."""
    return {
        "reasoning_tokens": account.tokens.reasoning_tokens,
        "cache_write_tokens": account.tokens.cache_write_tokens,
        "requests": account.requests,
        "unreported_requests": account.unreported,
        "lost_calls": account.calls_lost,
    }


def _numbered(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"step_id": number, **step} for number, step in enumerate(steps, 1)]

"""Read a run's directory, finished or not: its journal, the tree, and what was spent on each node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from kit.agent.budget import Spent
from kit.agent.calls import CALLS, request_sha256
from kit.agent.events import (
    CallEnded,
    CallLost,
    CallStarted,
    Edited,
    EvaluationEnded,
    EvaluationReserved,
    Event,
    NodeEnded,
    Retimed,
    RunStarted,
    node_of,
)
from kit.agent.journal import JOURNAL, JournalContents, JournalLine, read_journal
from kit.agent.llm.wire import CallOutcome, ChatRequest, TokenUsage
from kit.agent.node import Node, NodeStatus
from kit.agent.spec import AgentSpec
from kit.agent.spent import billed, fold_spent
from kit.agent.tree import Tree, fold
from kit.core.codec import decode
from kit.core.errors import IntegrityError, KitError, PrerequisiteError, SchemaError
from kit.core.reading import unreadable
from kit.core.schema import read_bounded, read_json
from kit.core.text import one_line
from kit.result.directory_kind import DirectoryKind, not_of_kind

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
BUNDLES = "bundles"
"""The directory of evaluations in a run's directory: one run folder for each, named by its id."""


@dataclass(frozen=True, slots=True)
class NodeAccount:
    """What was spent on one node, or on all. None: nothing was reported."""

    calls: int = 0
    """Calls that ended; a call that was asked again counts each time."""
    calls_lost: int = 0
    requests: int = 0
    """HTTP requests of the calls that ended."""
    unreported: int = 0
    """Requests that are billed, or may be, without a report of their tokens."""
    tokens: TokenUsage = field(default_factory=TokenUsage)
    cost_usd: float | None = None
    """The sum of the known costs."""
    latency_s: float = 0.0
    waited_s: float = 0.0
    """Seconds waited before retries."""
    refused_edits: int = 0
    evaluations: int = 0
    evaluation_s: float = 0.0
    gpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run as its journal tells it."""

    folder: Path
    spec: AgentSpec
    contents: JournalContents
    tree: Tree
    spent: Spent
    _of_nodes: Mapping[int, tuple[JournalLine, ...]] = field(init=False, repr=False, compare=False)
    """The lines by node: a run has thousands of both."""

    def __post_init__(self) -> None:
        found: dict[int, list[JournalLine]] = {}
        for line in self.contents.lines:
            node = node_of(line.event)
            if node is not None:
                found.setdefault(node, []).append(line)
        object.__setattr__(self, "_of_nodes", {node: tuple(lines) for node, lines in found.items()})

    @property
    def lines(self) -> tuple[JournalLine, ...]:
        """The complete lines of the journal."""
        return self.contents.lines

    @property
    def retimed(self) -> Retimed | None:
        """The last time that the winner was timed again, if any."""
        found = [e for e in self.contents.events if isinstance(e, Retimed)]
        return found[-1] if found else None

    def of_node(self, node: int) -> tuple[JournalLine, ...]:
        """Return the lines about a node."""
        return self._of_nodes.get(node, ())

    def account(self, node: int | None = None) -> NodeAccount:
        """Return the sums of one node, or of the run."""
        return account_of(line.event for line in (self.lines if node is None else self.of_node(node)))


def read_run(folder: Path, head: str | None = None) -> RecordedRun:
    """
    Read a run's directory; nothing but the journal is read.

    `head` is the expected digest of its last line. Raises `PrerequisiteError` if there is no run, and
    `IntegrityError` for a changed journal.
    """
    path = folder / JOURNAL
    if not path.is_file():
        why = f"{folder} is not the directory of an agent's run or session: it has no {JOURNAL}"
        if not folder.exists():
            why = f"cannot read {folder}: no such directory"
        hint = "pass the directory that `speedrun agent run` printed, or that `speedrun session new` made"
        raise not_of_kind(folder, DirectoryKind.AGENT_RUN, why, hint)
    contents = read_journal(path, head)
    if not contents.lines:
        raise PrerequisiteError(
            f"{path} has no complete line yet", "the run has only been created: resume it"
        )
    first = contents.lines[0].event
    if not isinstance(first, RunStarted):
        raise IntegrityError(f"{path}: the journal does not begin with the start of a run")
    spent = fold_spent((line.time, line.event) for line in contents.lines).spent
    return RecordedRun(folder, first.spec, contents, fold(contents.events), spent)


def account_of(events: Iterable[Event]) -> NodeAccount:
    """Return the sums of events."""
    sums: dict[str, float] = dict.fromkeys((f.name for f in fields(NodeAccount)), 0)
    usages: list[TokenUsage] = []
    costs: list[float] = []
    for event in events:
        match event:
            case CallEnded():
                of_call = billed(event)
                usages += of_call
                costs += (
                    [event.cost_usd]
                    if event.cost_usd is not None and any(u != TokenUsage() for u in of_call)
                    else []
                )
                sums["calls"] += 1
                sums["requests"] += len(event.attempts)
                sums["latency_s"] += event.latency_s
                sums["waited_s"] += event.waited_s
            case CallLost():
                sums["calls_lost"] += 1
            case Edited():
                sums["refused_edits"] += not event.applied
            case EvaluationEnded():
                sums["evaluations"] += 1
                sums["evaluation_s"] += event.outcome.wall_s
                sums["gpu_seconds"] += event.outcome.gpu_seconds
            case _:
                pass
    return NodeAccount(
        calls=int(sums["calls"]),
        calls_lost=int(sums["calls_lost"]),
        requests=int(sums["requests"]),
        unreported=sum(u.prompt_tokens is None or u.completion_tokens is None for u in usages),
        tokens=add_usage(usages),
        cost_usd=sum(costs) if costs else None,
        latency_s=sums["latency_s"],
        waited_s=sums["waited_s"],
        refused_edits=int(sums["refused_edits"]),
        evaluations=int(sums["evaluations"]),
        evaluation_s=sums["evaluation_s"],
        gpu_seconds=sums["gpu_seconds"],
    )


def add_usage(usages: Iterable[TokenUsage]) -> TokenUsage:
    """Return the sum of the reported numbers; None where none was reported."""
    listed = tuple(usages)
    sums: dict[str, int | None] = {}
    for name in (f.name for f in fields(TokenUsage)):
        reported = [n for usage in listed if (n := getattr(usage, name)) is not None]
        sums[name] = sum(reported) if reported else None
    return TokenUsage(**sums)


def ended_calls(events: Iterable[Event]) -> tuple[tuple[CallStarted, CallEnded], ...]:
    """Return the last start and the last end of each call that has an outcome, in the order of the calls."""
    started: dict[tuple[int, int], CallStarted] = {}
    ended: dict[tuple[int, int], tuple[CallStarted, CallEnded]] = {}
    for event in events:
        if isinstance(event, CallStarted):
            started[event.node, event.call] = event
        elif isinstance(event, CallEnded):
            place = (event.node, event.call)
            if place not in started:
                raise IntegrityError(
                    f"the journal ends call {event.call} of node {event.node} before its start"
                )
            ended[place] = (started[place], event)
    return tuple(ended[place] for place in sorted(ended))


def call_path(folder: Path, node: int, call: int) -> Path:
    """Return the file of a recorded call."""
    return folder / CALLS / f"{node:03d}-{call:02d}.json"


def read_call(folder: Path, node: int, call: int) -> tuple[ChatRequest, CallOutcome]:
    """
    Return what was asked and what came back in a call of a run.

    Raises `PrerequisiteError` if the record is missing, and `IntegrityError` if it is no record, or if its
    request does not have the digest beside it.
    """
    path = call_path(folder, node, call)
    require_file(path)
    document = read_json(path)
    if not isinstance(document, dict) or not {"request", "outcome"} <= set(document):
        raise SchemaError(f"{path}: not a recorded call")
    request: ChatRequest = decode(ChatRequest, document["request"], f"{path}: request")
    outcome: CallOutcome = decode(CallOutcome, document["outcome"], f"{path}: outcome")
    if "request_sha256" in document and document["request_sha256"] != request_sha256(request):
        raise IntegrityError(f"{path}: the request does not have the digest beside it")
    return request, outcome


def require_file(path: Path) -> None:
    """Raise `PrerequisiteError` unless `path` is a regular file: another kind may never end."""
    if path.is_symlink() or not path.is_file():
        raise PrerequisiteError(f"{path} does not exist, or is not a regular file")


def read_file(path: Path) -> bytes:
    """
    Read a regular file of at most 64 MiB.

    Raises `KitError` if it is missing, another kind of file, or larger: a directory may be a stranger's.
    """
    require_file(path)
    try:
        return read_bounded(path)
    except OSError as e:
        raise unreadable(path, e) from e


def fault_text(e: KitError | OSError) -> str:
    """Return an error as one line."""
    return one_line(e.headline if isinstance(e, KitError) else f"{e.filename}: {e.strerror}")


def bundle_folder(folder: Path, run_id: str) -> Path:
    """
    Return the directory of an evaluation, or of a series, in a run's directory.

    Raises `IntegrityError` for an id that is no plain name: it could lead elsewhere.
    """
    if not RUN_NAME.fullmatch(run_id):
        raise IntegrityError(f"{run_id[:100]!a} is not the name of an evaluation")
    return folder / BUNDLES / run_id


def reserved_runs(run: RecordedRun) -> tuple[str, ...]:
    """Return the ids of all evaluations that the journal reserves, in order."""
    return tuple(e.run_id for e in run.contents.events if isinstance(e, EvaluationReserved))


def ended_at(run: RecordedRun, node: int) -> str | None:
    """Return the time at which a node ended."""
    times = [line.time for line in run.of_node(node) if isinstance(line.event, NodeEnded)]
    return times[-1] if times else None


def status_word(node: Node) -> str:
    """Return a node's status, or `open`."""
    return "open" if node.status is None else NodeStatus(node.status).value

"""
A search without a model and an engine: answers and evaluations follow from hashes of what they are given.

`python fake_search.py FOLDER TICK` runs the 20-node search and kills itself with SIGKILL at the given tick;
a tick is a journal line, a call under way, or an evaluation under way.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kit.agent.budget import Budget
from kit.agent.calls import CallFolder
from kit.agent.edit.apply import EditResult
from kit.agent.evaluator import EvaluatedRun
from kit.agent.events import CallLost, Resumed
from kit.agent.journal import JOURNAL, read_journal
from kit.agent.llm.wire import (
    Attempt,
    CallFault,
    CallKey,
    CallOutcome,
    ChatRequest,
    ChatResponse,
    ChatRole,
    Message,
    TokenUsage,
)
from kit.agent.node import EvaluationOutcome, EvaluationStatus, Node
from kit.agent.nodefiles import files_digest
from kit.agent.policy import POLICIES, SearchFidelity
from kit.agent.scaffold import bug_history
from kit.agent.search import SearchEnd, SearchParts, search
from kit.agent.solve import ModelSolver
from kit.agent.spec import AgentSpec, EvaluationSettings, ModelChoice
from kit.agent.steps import StepParts
from kit.agent.tree import Tree
from kit.core.digest import Sha256, sha256_bytes

START_FILES = {"train_gpt2.py": b"print('start')\n"}
PROMPT_TOKENS, COMPLETION_TOKENS = 100, 50
WORST_PROMPT, WORST_COMPLETION = 150, 80
USD_PER_TOKEN = 0.001
EVALUATION_S, WORST_EVALUATION_S = 60.0, 90.0
GPUS = 8
TICKS = 247
"""Journal lines, calls and evaluations of the undisturbed search."""
LINES = 194
SIGNATURE = "an answer of the fake"


class Killed(BaseException):
    """The process ends here."""


def number(*parts: object) -> int:
    """Return a number that follows from `parts`."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6], "big")


@dataclass
class Ticks:
    """Counts the points at which a kill is tried."""

    at: int = -1
    kill: Callable[[], None] | None = None
    count: int = 0

    def tick(self) -> None:
        if self.count == self.at:
            assert self.kill is not None
            self.kill()
        self.count += 1


def raise_killed() -> None:
    raise Killed


def kill_9() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Clock:
    """One second a line, from a fixed time."""

    ticks: Ticks
    seconds: float = 0.0
    step: float = 1.0

    def __call__(self) -> str:
        self.ticks.tick()
        self.seconds += self.step
        return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)).isoformat()


@dataclass
class FakeTransport:
    """Answers by node and call: some refused edits, some empty, some cut, one refusal."""

    ticks: Ticks = field(default_factory=Ticks)
    asked: list[CallKey] = field(default_factory=list)
    faults: Mapping[tuple[int, int], CallFault] = field(default_factory=dict)
    usage: TokenUsage = field(default_factory=lambda: TokenUsage(PROMPT_TOKENS, COMPLETION_TOKENS))
    text: str | None = None

    def call(
        self, request: ChatRequest, key: CallKey, wall_left_s: float, cancelled: Callable[[], bool]
    ) -> CallOutcome:
        self.asked.append(key)
        self.ticks.tick()
        fault = self.faults.get((key.node, key.call), self._fault(key))
        text = f"{SIGNATURE} {number(key.node, key.call)}"
        if fault is None and number("bad edit", key.node, key.call) % 4 == 0:
            text = "a bad edit"
        if fault is CallFault.EMPTY:
            text = ""
        text = text if self.text is None else self.text
        answered = fault in (None, CallFault.EMPTY, CallFault.LENGTH, CallFault.REFUSED)
        response = ChatResponse(
            text, None, "stop", self.usage, request.model, request.model, None, f"req-{key.node}-{key.call}"
        )
        attempt = Attempt(1, fault, 200, 0.0, 2.5, response.request_id)
        return CallOutcome(response if answered else None, fault, (attempt,), f"detail of {key.node}")

    def _fault(self, key: CallKey) -> CallFault | None:
        faults = {0: CallFault.EMPTY, 1: CallFault.LENGTH, 2: CallFault.REFUSED, 3: CallFault.TIMEOUT}
        return faults.get(number("fault", key.node, key.call) % 18)


@dataclass
class FakeEvaluator:
    """Evaluates by the submission's bytes; its bundles survive a kill."""

    folder: Path
    ticks: Ticks = field(default_factory=Ticks)
    evaluated: list[str] = field(default_factory=list)
    outcome: Callable[[str, str], EvaluationOutcome] | None = None

    def evaluate(
        self, submission: Path, reserved: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> EvaluatedRun:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = submission.parent.name
        tried = len(list(self.folder.glob(f"{name}-*")))
        run_id = f"{name}-{tried + 1}"
        reserved(run_id)
        (self.folder / run_id).write_text("")
        self.evaluated.append(run_id)
        self.ticks.tick()
        content = b"".join(p.read_bytes() for p in sorted(submission.iterdir())).decode()
        (self.folder / run_id).write_text(content)
        return self._run(run_id, content)

    def close(self, run_id: str) -> EvaluatedRun | None:
        path = self.folder / run_id
        content = path.read_text() if path.is_file() else ""
        return self._run(run_id, content) if content else None

    def _run(self, run_id: str, content: str) -> EvaluatedRun:
        outcome = (self.outcome or default_outcome)(run_id, content)
        return EvaluatedRun(outcome, None, ("a finding",), ((1, 3.5), (2, 3.25)))


def default_outcome(run_id: str, content: str) -> EvaluationOutcome:
    """Return an outcome that follows from the submission."""
    kinds = (EvaluationStatus.REACHED,) * 5 + (EvaluationStatus.MISSED,) * 2 + (EvaluationStatus.CRASHED,) * 2
    status = kinds[number("status", content) % len(kinds)]
    time = 500.0 + number("time", content) % 700 if status is EvaluationStatus.REACHED else None
    if content == START_FILES["train_gpt2.py"].decode():
        status, time = EvaluationStatus.REACHED, 1001.0
    return outcome(run_id, status, time)


def outcome(run_id: str, status: EvaluationStatus, time: float | None) -> EvaluationOutcome:
    """Return an outcome."""
    fsr = None if time is None else (1000.0 - time) / 400.0
    return EvaluationOutcome(
        run_id,
        status,
        sha256_bytes(run_id.encode()),
        time,
        3.25,
        fsr,
        EVALUATION_S,
        EVALUATION_S * GPUS,
        "why",
    )


class FakeEditor:
    """Appends an answer to the parent's script."""

    def edit(self, parent_files: Mapping[str, bytes], answer: str) -> EditResult:
        if not answer.startswith(SIGNATURE):
            return EditResult(None, "the block matches nowhere", "")
        ((name, data),) = parent_files.items()
        return EditResult({name: data + f"# {answer}\n".encode()}, "one block", f"+# {answer}\n")


class FakePrompts:
    """A prompt that tells all of the tree, so that any difference in it changes the requests."""

    def prompt(self, node: Node, tree: Tree) -> tuple[Message, ...]:
        history = [n.id for n in bug_history(tree, node.action.parent, SearchFidelity.PAPER)]
        told = [(n.id, n.status and n.status.value, n.submission_sha256, n.reason) for n in tree.nodes]
        return (
            Message(ChatRole.SYSTEM, "You edit a script."),
            Message(ChatRole.USER, repr((node.id, node.action, history, told))),
        )


@dataclass(frozen=True)
class FakePrices:
    known: bool = True

    def worst(self, request: ChatRequest) -> tuple[TokenUsage, float | None]:
        usd = (WORST_PROMPT + WORST_COMPLETION) * USD_PER_TOKEN
        return TokenUsage(WORST_PROMPT, WORST_COMPLETION), usd if self.known else None

    def cost_usd(self, usage: TokenUsage) -> float | None:
        if not self.known or usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        return (usage.prompt_tokens + usage.completion_tokens) * USD_PER_TOKEN


def make_spec(scaffold: str = "aide", **changes: Any) -> AgentSpec:
    """Return a spec."""
    spec = AgentSpec(
        task="3",
        hints=(1, 3),
        policy=POLICIES[scaffold],
        fidelity=SearchFidelity.PAPER,
        controls=1,
        model=ModelChoice("fake", (("base_url", "http://127.0.0.1"),), Sha256("1" * 64)),
        seed=7,
        budget=Budget(),
        evaluation=EvaluationSettings("smoke", "runc", "cpu", GPUS, WORST_EVALUATION_S, 1000.0, 20.0, 600.0),
        start_sha256=files_digest(START_FILES),
        prompts_sha256=Sha256("2" * 64),
        knowledge=(),
        kit_version="0",
    )
    return replace(spec, **changes)


def make_parts(folder: Path, ticks: Ticks | None = None, **changes: Any) -> SearchParts:
    """Return parts; `changes` are fields of `SearchParts` or of `StepParts`."""
    ticks = ticks or Ticks()
    steps = {
        "transport": FakeTransport(ticks),
        "evaluator": FakeEvaluator(folder / "bundles", ticks),
        "prices": FakePrices(),
        "records": CallFolder(folder),
    }
    steps |= {name: changes.pop(name) for name in tuple(changes) if name in steps}
    parts = SearchParts(
        solver=ModelSolver(FakePrompts(), FakeEditor(), ChatRequest("fake", (), 80)),
        steps=StepParts(**steps),
        start=START_FILES,
        now=Clock(ticks),
    )
    return replace(parts, **changes)


def run(folder: Path, spec: AgentSpec | None = None, **changes: Any) -> SearchEnd:
    """Run or resume a search."""
    return search(folder, spec or make_spec(), make_parts(folder, **changes))


def node_bytes(folder: Path) -> dict[str, bytes]:
    """Return every file of the nodes."""
    nodes = folder / "nodes"
    return {p.relative_to(nodes).as_posix(): p.read_bytes() for p in sorted(nodes.rglob("*")) if p.is_file()}


def comparable(end: SearchEnd) -> tuple[Any, ...]:
    """Return the tree and the known sums, without what a repeated evaluation and more lines change."""
    nodes = tuple(
        replace(n, evaluation=n.evaluation and replace(n.evaluation, run_id="", bundle_sha256=""))
        for n in end.tree.nodes
    )
    return nodes, end.tree.ended, replace(end.spent.known, wall_s=0.0)


def killed_copies(folder: Path, ticks: range) -> list[Path]:
    """Run a search; return a copy of its directory as a kill at each of the ticks would leave it."""
    made: list[Path] = []

    class Copying(Ticks):
        def tick(self) -> None:
            if self.count in ticks:
                made.append(folder / f"copy-{self.count}")
                shutil.copytree(folder / "run", made[-1])
            self.count += 1

    counter = Copying()
    (folder / "run").mkdir()
    search(folder / "run", make_spec(), make_parts(folder / "run", counter))
    assert counter.count == TICKS
    return made


def compare_killed(folder: Path, ticks: range) -> None:
    """
    Resume the search after a kill at each of the ticks, and compare it with the one that was not killed.

    At every third, half of the next line was written.
    """
    killed = killed_copies(folder, ticks)
    whole, files = run(folder / "run"), node_bytes(folder / "run")
    lines = (folder / "run" / JOURNAL).read_bytes().splitlines(keepends=True)
    assert len(killed) == len(ticks)
    for i, copy in enumerate(killed):
        journal = copy / JOURNAL
        written = journal.read_bytes().count(b"\n") if journal.exists() else 0
        torn = lines[written][: len(lines[written]) // 2] if i % 3 == 0 and written else b""
        if torn:
            journal.write_bytes(journal.read_bytes() + torn)
        end = run(copy)
        assert comparable(end) == comparable(whole), copy.name
        assert node_bytes(copy) == files, copy.name
        resumed = [e for e in read_journal(journal, end.head).events if isinstance(e, Resumed)]
        assert [e.cut_bytes for e in resumed] == ([len(torn)] if written else []), copy.name
        shutil.rmtree(copy)


def compare_cut(folder: Path, kept: range) -> None:
    """Cut the journal of a finished search after so many lines, resume it, and compare."""
    whole, files = run(folder / "run"), node_bytes(folder / "run")
    lines = (folder / "run" / JOURNAL).read_bytes().splitlines(keepends=True)
    assert len(lines) == LINES
    for number in kept:
        copy = shutil.copytree(folder / "run", folder / "copy")
        (copy / JOURNAL).write_bytes(b"".join(lines[:number]))
        end = run(copy)
        assert comparable(end) == comparable(whole), number
        assert node_bytes(copy) == files, number
        assert not any(isinstance(e, CallLost) for e in read_journal(copy / JOURNAL).events), number
        shutil.rmtree(copy)


def main() -> None:
    """Run the search and kill the process at a tick."""
    os.fsync = lambda fd: None  # a killed process leaves what it wrote, synced or not
    folder, at = Path(sys.argv[1]), int(sys.argv[2])
    end = run(folder, ticks=Ticks(at, kill_9))
    sys.stdout.write(json.dumps({"nodes": len(end.tree.nodes), "head": end.head}))


if __name__ == "__main__":
    main()

"""
A session in progress: every tool call is a journal line, then is refused or done (`AgentSession`).

Calls may come from several threads. Reading and writing files go on while a guest runs; guests wait for each
other, and for those of other sessions on the machine.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from kit.agent.events import EvaluationReserved
from kit.agent.feedback import mark, summarize
from kit.agent.journal import MAX_JOURNAL
from kit.agent.ledger import Interrupted
from kit.agent.node import Node
from kit.agent.nodefiles import NodeFiles
from kit.agent.own_task import OwnTask
from kit.agent.spec import spec_sha256
from kit.agent.tool_events import CallRefused, ToolCalled, TryEnded, TryLost, TryReserved
from kit.benchmark.submission import Submission
from kit.core.errors import IntegrityError, KitError, PrerequisiteError, RunError, UsageError
from kit.core.text import one_line
from kit.session import texts
from kit.session.guests import STOPPED, SessionGuests, findings
from kit.session.host_paths import HostPaths
from kit.session.ledger import SessionLedger
from kit.session.logs import log_below
from kit.session.tools import ToolAnswer, ToolName, ToolRefusal, about, arguments_sha256, parse_call
from kit.session.trials import TryBound
from kit.session.workspace import Workspace

MAX_CALLS = 100_000
"""Calls of one session that are recorded; further ones are refused without a line."""
MAX_CALL_BYTES = MAX_JOURNAL // 2
"""Bytes of the journal after which no call is recorded: a larger one is never read again."""
MAX_WAITING = 8
"""Guests of one session that may wait for their turn."""
DEFAULT_SECONDS = 600.0
DEFAULT_LINES = 60
GPU_COUNTS = (1, 2, 4, 8)

FULL = "the journal of this session is full: it takes no more calls"

Turn = Callable[[Callable[[], bool]], AbstractContextManager[None]]
"""Returns a context that waits for this machine, until the function that it is given returns True."""


class AgentSession:
    """A session that this process has open for writing. Made by `kit.session.opening.open_session`."""

    def __init__(
        self,
        ledger: SessionLedger,
        task: OwnTask,
        workspace: Workspace,
        guests: SessionGuests,
        turn: Turn,
        stop: threading.Event,
        paths: HostPaths,
    ) -> None:
        self.ledger, self.task, self.workspace = ledger, task, workspace
        self._paths = paths
        self._guests, self._turn = guests, turn
        self._one = threading.Lock()
        self._checking = threading.Lock()
        self._stop = stop
        self._counting = threading.Lock()
        self._waiting = 0
        self._tools: Mapping[ToolName, Callable[..., ToolAnswer]] = {
            ToolName.BRIEF: self._brief,
            ToolName.LIST: self._list,
            ToolName.READ: self._read,
            ToolName.WRITE: self._write,
            ToolName.DELETE: self._delete,
            ToolName.CHECK: self._check,
            ToolName.TRY: self._try,
            ToolName.EVALUATE: self._evaluate,
            ToolName.HISTORY: self._history,
            ToolName.BUDGET: self._budget,
        }

    def call(self, tool: str, arguments: Mapping[str, Any], client: str) -> ToolAnswer:
        """Do one call of an agent, and return what it may see. Nothing that an agent sends raises."""
        with contextlib.ExitStack() as held:
            refusal: ToolRefusal | None = None
            values: dict[str, Any] = {}
            try:
                spec, values = parse_call(tool, arguments)
                if spec.name.changes and self.ledger.tree.ended is not None:
                    raise ToolRefusal("this session has ended; history and budget still answer")
                if spec.name.starts_guest:
                    held.enter_context(self._place())
            except ToolRefusal as e:
                refusal = e
            number = self._record(tool, arguments, client, None if refusal is None else str(refusal))
            if number is None:
                return _refused(FULL)
            if refusal is not None:
                return _refused(str(refusal), refusal.kind)
            try:
                if spec.name.starts_guest:
                    return self._tools[spec.name](number, **values)
                return self._tools[spec.name](**values)
            except ToolRefusal as e:
                return _refused(self._paths.hide_known(str(e)), e.kind)
            except KitError as e:
                return _refused(self._paths.hide(f"{e.message}{_hint_of(e)}"), _kind_of(e))
            except Interrupted:
                return _refused(STOPPED)
            except OSError as e:
                return _refused(f"the host could not do this: {e.strerror}", RunError)
            except Exception as e:  # its text may hold anything; the operator reads it on stderr
                logging.getLogger(__name__).exception("the tool %s failed", one_line(tool, 60))
                said = f"the host failed ({type(e).__name__}); tell the person who runs it"
                return _refused(said, RunError)

    def stop(self) -> None:
        """End the guest that runs, and refuse those that wait. Safe to repeat."""
        self._stop.set()

    def refuse(self, tool: str, why: str, client: str) -> ToolAnswer:
        """Record a message that is no call of a tool, such as one that is too large."""
        number = self._record(tool, {}, client, why)
        return _refused(why if number is not None else FULL)

    def _record(self, tool: str, arguments: Any, client: str, refusal: str | None) -> int | None:
        with self._counting:
            number = self.ledger.calls + 1
            if self.ledger.tree.ended is not None:
                return number  # the journal is signed: it gets no further line
            if number > MAX_CALLS or self.ledger.size > MAX_CALL_BYTES:
                return None
            self.ledger.write(
                ToolCalled(
                    number,
                    one_line(tool, 60),
                    one_line(client, 90),
                    arguments_sha256(arguments),
                    about(arguments),
                    refusal,
                )
            )
            return number

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """Take one of the places for guests that run or wait."""
        with self._counting:
            if self._waiting >= MAX_WAITING:
                raise ToolRefusal(f"{MAX_WAITING} runs of this session are waiting already; wait for one")
            self._waiting += 1
        try:
            yield
        finally:
            with self._counting:
                self._waiting -= 1

    @contextlib.contextmanager
    def _guest_turn(self, number: int) -> Iterator[None]:
        """Wait until no other guest of this session, and none of this machine, runs."""
        with self._one, self._turn(self.ledger.cancelled):
            if self.ledger.cancelled():
                raise Interrupted
            if self.ledger.tree.ended is not None:
                raise ToolRefusal("this session has ended")
            self.ledger.guest_call = number
            yield

    def _brief(self) -> ToolAnswer:
        spec = self.ledger.spec
        text = texts.brief_text(self.task, spec)
        return ToolAnswer(text, {"task": spec.task, "target_loss": self.task.target_loss, "text": text})

    def _list(self) -> ToolAnswer:
        files = self.workspace.list()
        text = "\n".join(f"{size:>9,}  {name}" for name, size in files) or "The workspace is empty."
        return ToolAnswer(text, {"files": [{"path": name, "bytes": size} for name, size in files]})

    def _read(self, path: str, start: int = 0) -> ToolAnswer:
        part = self.workspace.read(path, start)
        end = part.start + len(part.text)
        values = {"path": path, "text": part.text, "start": part.start, "end": end, "total": part.total}
        return ToolAnswer(part.text, values)

    def _write(self, path: str, content: str) -> ToolAnswer:
        size = self.workspace.write(path, content)
        return ToolAnswer(f"wrote {path}: {size:,} bytes", {"path": path, "bytes": size})

    def _delete(self, path: str) -> ToolAnswer:
        self.workspace.delete(path)
        return ToolAnswer(f"deleted {path}", {"path": path})

    def _check(self) -> ToolAnswer:
        if not self._checking.acquire(blocking=False):
            raise ToolRefusal("another check of this session runs; wait for it")
        try:
            files = _files(self.workspace.snapshot())
            faults, warnings = findings(self.task.check, files), findings(self.task.warn, files)
        finally:
            self._checking.release()
        shown = {
            "faults": [*map(self._paths.hide_known, faults)],
            "warnings": [*map(self._paths.hide_known, warnings)],
        }
        lines = [f"{kind[:-1]}: {text}" for kind, found in shown.items() for text in found]
        return ToolAnswer("\n".join(lines) or "No faults found. A run may still fail.", shown)

    def _try(
        self,
        number: int,
        steps: int | None = None,
        seconds: float = DEFAULT_SECONDS,
        gpus: int | None = None,
        lines: int = DEFAULT_LINES,
    ) -> ToolAnswer:
        bound = TryBound(steps, seconds, self._gpus(gpus))
        files = _files(self.workspace.snapshot())
        with self._guest_turn(number):
            ended = self._guests.attempt(files, bound)
        return self._show_try(ended.trial, lines)

    def _gpus(self, gpus: int | None) -> int:
        most = self.ledger.spec.evaluation.gpus
        if gpus is None or gpus == most:
            return most
        if most == 0:
            raise ToolRefusal("this task runs on CPUs; leave gpus out", UsageError)
        if gpus not in GPU_COUNTS or gpus > most:
            counts = ", ".join(str(n) for n in GPU_COUNTS if n <= most)
            raise ToolRefusal(f"gpus must be {counts}", UsageError)
        return gpus

    def _show_try(self, trial: int, lines: int) -> ToolAnswer:
        reserved = self.ledger.tries.get(trial)
        if reserved is None:
            raise ToolRefusal(f"there is no try {trial}", PrerequisiteError)
        reserved, ended = self._shown_try(reserved)
        said = texts.log_text(self.ledger.spec, self.ledger.run, trial, lines)
        values = {**texts.try_values(reserved, ended), "log": said}
        return ToolAnswer(f"{texts.try_line(reserved, ended)}\n{said}", values)

    def _shown_try(self, reserved: TryReserved) -> tuple[TryReserved, TryEnded | TryLost | None]:
        """Return a try with its end, as the agent may read it."""
        ended = self.ledger.ended_tries.get(reserved.trial)
        if isinstance(ended, TryEnded):
            ended = replace(ended, reason=self._paths.hide(ended.reason))
        return reserved, ended

    def _shown_node(self, node: Node) -> Node:
        """Return an evaluation as the agent may read it."""
        return replace(node, reason=self._paths.hide(node.reason))

    def _evaluate(self, number: int, parent: int = 0) -> ToolAnswer:
        files = _files(self.workspace.snapshot())
        with self._checking:
            self._guests.require_no_faults(files)
        with self._guest_turn(number):
            node = self._guests.evaluate(files, parent)
        return self._show_node(node)

    def _show_node(self, node: Node) -> ToolAnswer:
        spec, node = self.ledger.spec, self._shown_node(node)
        text = texts.node_line(node)
        if node.evaluation is not None:
            run = NodeFiles(self.ledger.run, node.id).read_evaluated(node.evaluation)
            outcome = replace(run.outcome, reason=self._paths.hide(run.outcome.reason))
            findings = tuple(map(self._paths.hide_known, run.findings))
            run = replace(run, outcome=outcome, findings=findings)
            parent_ms = self.ledger.tree.time_ms(node.action.parent)
            secret = mark(spec_sha256(spec), node.id)
            with log_below(self.ledger.run, run.log) as log:
                run = replace(run, log=log)
                text += f"\n{summarize(run, self.task.target_loss, secret, parent_ms)}"
        text += f"\n{texts.budget_text(spec.budget, self.ledger.spent_now())}"
        return ToolAnswer(text, {**texts.node_values(node), "text": text})

    def _history(self, evaluation: int | None = None, trial: int | None = None) -> ToolAnswer:
        ledger = self.ledger
        if evaluation is not None:
            if evaluation > len(ledger.tree.nodes):
                raise ToolRefusal(f"there is no evaluation {evaluation}", PrerequisiteError)
            return self._show_node(ledger.tree.nodes[evaluation - 1])
        if trial is not None:
            return self._show_try(trial, DEFAULT_LINES)
        nodes = [self._shown_node(node) for node in ledger.tree.nodes]
        tries = [self._shown_try(reserved) for reserved in tuple(ledger.tries.values())]
        lines = [*(texts.node_line(node) for node in nodes), *(texts.try_line(*pair) for pair in tries)]
        winner = ledger.tree.winner()
        lines.append("no valid evaluation yet" if winner is None else f"fastest valid: evaluation {winner}")
        values = {
            "evaluations": [texts.node_values(node) for node in nodes],
            "tries": [texts.try_values(*pair) for pair in tries],
            "fastest": winner,
            "ended": ledger.tree.ended is not None,
            "calls": ledger.calls,
            "refused_by_budget": sum(isinstance(e, CallRefused) for e in ledger.events),
            "evaluations_started": sum(isinstance(e, EvaluationReserved) for e in ledger.events),
        }
        return ToolAnswer("\n".join(lines), values)

    def _budget(self) -> ToolAnswer:
        budget, spent = self.ledger.spec.budget, self.ledger.spent_now()
        values = {"limits": texts.budget_rows(budget, spent), "charged": spent.charged.document()}
        return ToolAnswer(texts.budget_text(budget, spent), values)


def _files(submission: Submission) -> dict[str, bytes]:
    return {file.name: file.data for file in submission.files}


def _hint_of(e: KitError) -> str:
    """Return an error's hint in brackets; commands of the host are nothing that an agent can run."""
    if not e.hint:
        return ""
    return " (only whoever runs this session can mend this)" if "speedrun " in e.hint else f" ({e.hint})"


def _kind_of(e: KitError) -> type[KitError]:
    """Return the class of an error that says the exit code."""
    known: tuple[type[KitError], ...] = (UsageError, PrerequisiteError, IntegrityError)
    return next((kind for kind in known if isinstance(e, kind)), RunError)


def _refused(text: str, kind: type[KitError] | None = None) -> ToolAnswer:
    return ToolAnswer(text, {"refused": text}, True, kind)

"""Run the workspace of a session: tries and evaluations, each reserved before and charged after."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from kit.agent.budget import Amounts
from kit.agent.edit.apply import unified_diff
from kit.agent.events import Decided, NodeEnded, NodeReserved
from kit.agent.ledger import Interrupted
from kit.agent.node import Action, ActionKind, Node, NodeStatus
from kit.agent.nodefiles import NODES, Files, NodeFiles, files_digest
from kit.agent.own_task import OwnTask, SubmissionChecker
from kit.agent.recorded import BUNDLES
from kit.agent.solve import NodeResult, evaluated, improved_over_start, status_of
from kit.agent.steps import NodeSteps, StepParts
from kit.agent.tool_events import TryEnded, TryLost, TryReserved, TryStatus
from kit.agent.tree import START, has_script
from kit.benchmark.submission import load_submission
from kit.core.digest import Sha256
from kit.core.errors import IntegrityError, KitError, PrerequisiteError, UsageError
from kit.session.ledger import SessionLedger
from kit.session.logs import log_sha256
from kit.session.tools import ToolRefusal
from kit.session.trials import LOG, TRIES, TrialRunner, TryBound, TryOutcome
from kit.session.workspace import WORKSPACE

STOPPED = "the server was stopped"
MAX_KEPT = 16 << 30
"""Bytes of logs, scripts and bundles of one session. A guest may print 64 MiB, and short runs are cheap."""
MAX_DIFF_LINES = 10_000
"""The time to compare two files grows faster than their lines."""


@dataclass(frozen=True, slots=True)
class SessionGuests:
    """Runs the guests of one session. One at a time: the caller sees to it."""

    ledger: SessionLedger
    task: OwnTask
    steps: StepParts
    trials: TrialRunner

    def attempt(self, files: Files, bound: TryBound) -> TryEnded:
        """
        Run a try of `files`; return how it ended.

        Raises `ToolRefusal` if the budget cannot hold it, and `KitError` if nothing could start.
        """
        ledger = self.ledger
        self._require_room()
        ledger.proceed(Amounts(gpu_seconds=bound.seconds * bound.gpus, wall_s=bound.seconds))
        trial = len(ledger.tries) + 1
        place = NodeFiles(ledger.run, trial, TRIES)
        digest = place.write_submission(files)

        def reserve(run_id: str) -> None:
            ledger.write(
                TryReserved(trial, ledger.guest_call, run_id, digest, bound.steps, bound.seconds, bound.gpus)
            )

        def must_stop() -> bool:
            return ledger.cancelled() or ledger.wall_is_over()

        with place.opened() as own, place.private_copy(files) as copy:
            try:
                done = self.trials.run(copy, own, bound, reserve, must_stop)
            except BaseException:
                if trial in ledger.tries:
                    ledger.write(TryLost(trial, bound.seconds * bound.gpus, 0.0))  # its time is in the lines
                raise
            ended: TryEnded = ledger.write(self._try_ended(trial, done, bound, own))
        return ended

    def _try_ended(self, trial: int, done: TryOutcome, bound: TryBound, folder: Path) -> TryEnded:
        status, reason = done.status, done.reason
        if status is TryStatus.CANCELLED:
            reason = STOPPED
            if not self.ledger.cancelled():
                status, reason = TryStatus.BUDGET, "the budget of wall time ended"
        return TryEnded(
            trial=trial,
            status=status,
            reason=reason,
            step=done.step,
            first_line_s=done.first_line_s,
            step_ms=done.step_ms,
            wall_s=done.wall_s,
            gpu_seconds=done.wall_s * bound.gpus,
            log_sha256=log_sha256(folder, LOG),
        )

    def evaluate(self, files: Files, parent: int) -> Node:
        """
        Evaluate `files`, which the check has passed, as the next node; return the node with its status.

        Raises `ToolRefusal` for a parent without a script, and if the budget cannot hold the evaluation;
        `KitError` if no evaluation can start.
        """
        ledger = self.ledger
        self._require_room()
        action = Action(self._kind(parent), parent)
        number = len(ledger.tree.nodes) + 1
        place = NodeFiles(ledger.run, number)
        bundles = ledger.run / BUNDLES
        if bundles.is_symlink():
            raise IntegrityError(f"{bundles} is a symbolic link", "make it a directory again")
        place.write_submission(files)
        place.write_diff(_diff(self._files(parent), files))
        ledger.proceed(Amounts(nodes=1) + ledger.evaluation_worst())
        ledger.write(Decided(ledger.tree.decisions, (action,)))
        ledger.write(NodeReserved(number, action))
        node = ledger.tree.node(number)
        try:
            result = evaluated(node, files, ledger.tree, NodeSteps(node, ledger, self.steps))
        except Exception as e:
            self._end(node, _interrupted(e, files_digest(files)))
            if isinstance(e, Interrupted | ToolRefusal):
                return ledger.tree.node(number)
            raise  # the node has ended: another one can begin
        self._end(node, result)
        return ledger.tree.node(number)

    def require_no_faults(self, files: Files) -> None:
        """
        Raise `ToolRefusal` for faults that the check finds.

        It may take minutes for files made to be slow, so no turn of the machine is held meanwhile.
        """
        faults = findings(self.task.check, files)
        if faults:
            raise ToolRefusal("\n".join(("refused: the check found faults; nothing was run:", *faults)))

    def close_open(self) -> None:
        """End what a process that is gone has left open: a try, or a node. Nothing is run again."""
        ledger = self.ledger
        for trial, reserved in ledger.tries.items():
            if trial not in ledger.ended_tries:
                ledger.write(TryLost(trial, reserved.seconds * reserved.gpus, reserved.seconds))
        if ledger.tree.pending:  # the process ended between the decision and its node
            ledger.write(NodeReserved(len(ledger.tree.nodes) + 1, ledger.tree.pending[0]))
        node = ledger.tree.open
        if node is None:
            return
        digest = _digest_of(NodeFiles(ledger.run, node.id).submission)
        if node.evaluation is None:
            self._end(node, NodeResult(NodeStatus.LOST, "the server ended during it", digest, None))
            return
        status, reason = status_of(node.evaluation, node.action.parent, ledger.tree)
        better = improved_over_start(node.evaluation, ledger.tree) if status.valid else None
        self._end(node, NodeResult(status, reason, digest, better))

    def _require_room(self) -> None:
        """Raise `ToolRefusal` if the runs of this session have filled its part of the disk."""
        kept = sum(_size(self.ledger.run / place) for place in (TRIES, NODES, BUNDLES))
        if kept > MAX_KEPT:
            raise ToolRefusal(
                f"the logs and scripts of this session take {kept >> 20:,} MiB of the host's disk, more than "
                f"{MAX_KEPT >> 20:,}: it runs nothing more"
            )

    def _end(self, node: Node, result: NodeResult) -> None:
        self.ledger.write(
            NodeEnded(
                node.id, result.status, result.reason, result.submission_sha256, result.improved_over_start
            )
        )

    def _files(self, node: int) -> Files:
        if node == START:
            return self.task.start
        known = self.ledger.tree.node(node)
        return NodeFiles(self.ledger.run, node).read_submission(known.submission_sha256)

    def _kind(self, parent: int) -> ActionKind:
        nodes = self.ledger.tree.nodes
        if parent == START:
            return ActionKind.DRAFT
        if parent > len(nodes):
            raise ToolRefusal(f"there is no evaluation {parent}", PrerequisiteError)
        if not has_script(nodes[parent - 1]):
            text = f"evaluation {parent} has no script to start from; leave parent out"
            raise ToolRefusal(text, UsageError)
        status = nodes[parent - 1].status
        return ActionKind.IMPROVE if status is not None and status.valid else ActionKind.DEBUG


def findings(check: SubmissionChecker, files: Files) -> tuple[str, ...]:
    """Return what a check finds in `files`, without the path of the copy that it reads."""
    with NodeFiles(Path(), 0).private_copy(files) as copy:
        return tuple(text.replace(str(copy), f"the {WORKSPACE}") for text in check(copy))


def _size(folder: Path) -> int:
    """Return the bytes of the files in a directory, without following a link."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # a run's scratch files may vanish
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - many files
    return total


def _diff(before: Files, after: Files) -> str:
    """Return the difference of two sets of files, unless comparing them line by line takes too long."""
    lines = max(sum(data.count(b"\n") for data in files.values()) for files in (before, after))
    if lines > MAX_DIFF_LINES:
        return f"the files have more than {MAX_DIFF_LINES} lines and were not compared\n"
    return unified_diff(before, after)


def _interrupted(e: Exception, digest: Sha256) -> NodeResult:
    if isinstance(e, Interrupted):
        return NodeResult(NodeStatus.LOST, STOPPED, digest, None)
    if isinstance(e, ToolRefusal):
        return NodeResult(NodeStatus.STOPPED, str(e), digest, None)
    reason = e.message if isinstance(e, KitError) else f"the host failed: {type(e).__name__}"
    return NodeResult(NodeStatus.INFRA_FAILED, reason, digest, None)


def _digest_of(folder: Path) -> Sha256 | None:
    try:
        return load_submission(folder).digest
    except (KitError, OSError):  # the process was killed while it was written, or it was changed
        return None

"""Compare the files of a run's nodes with its journal."""

from __future__ import annotations

from collections.abc import Iterator

from kit.agent.events import Edited, EvaluationEnded, NodeEnded
from kit.agent.node import Node
from kit.agent.nodefiles import NodeFiles
from kit.agent.recorded import RecordedRun, fault_text, read_file
from kit.agent.solve import improved_over_start, status_of
from kit.core.digest import sha256_bytes
from kit.core.errors import KitError


def node_faults(run: RecordedRun) -> Iterator[str]:
    """Yield how the nodes' files differ from the journal, and statuses that do not follow from outcomes."""
    for node in run.tree.nodes:
        yield from _file_faults(run, node)
        yield from _status_faults(run, node)


def _file_faults(run: RecordedRun, node: Node) -> Iterator[str]:
    files = NodeFiles(run.folder, node.id)
    events = [line.event for line in run.of_node(node.id)]
    edited = [e for e in events if isinstance(e, Edited) and e.applied]
    expected = edited[-1].submission_sha256 if edited else node.submission_sha256
    ended = [e for e in events if isinstance(e, NodeEnded) and e.submission_sha256 is not None]
    if edited and ended and ended[-1].submission_sha256 != expected:
        yield f"node {node.id}: the journal's edit and end name different submissions"
    if expected is not None:
        try:
            files.read_submission(expected)
        except (KitError, OSError) as e:
            yield f"node {node.id}: {fault_text(e)}"
    if edited and edited[-1].diff_sha256 is not None:
        try:
            if sha256_bytes(read_file(files.diff)) != edited[-1].diff_sha256:
                yield f"node {node.id}: diff.patch does not have the digest in the journal"
        except KitError as e:
            yield f"node {node.id}: {fault_text(e)}"


def _status_faults(run: RecordedRun, node: Node) -> Iterator[str]:
    """Yield a status that does not follow from the node's evaluation."""
    evaluated = any(isinstance(line.event, EvaluationEnded) for line in run.of_node(node.id))
    if not evaluated or node.status is None or node.evaluation is None:
        return
    status, _ = status_of(node.evaluation, node.action.parent, run.tree)
    if status is not node.status:
        yield f"node {node.id} ended as {node.status}; by its evaluation it is {status}"
    better = improved_over_start(node.evaluation, run.tree) if status.valid else None
    if better is not node.improved_over_start:
        yield f"node {node.id}: improved_over_start does not follow from its time"

"""
The signed summary of a run: `summary.json`, written when the run ends.

It is an in-toto statement in a Sigstore bundle, as results are. It binds the journal by the digest of its
last line, so that removed lines are seen, and lists every node.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.agent.budget import Amounts
from kit.agent.events import EndReason, Retimed
from kit.agent.journal import JOURNAL
from kit.agent.node import Action, Node, NodeStatus
from kit.agent.recorded import NodeAccount, RecordedRun, ended_at, read_run
from kit.agent.spec import run_id, spec_sha256
from kit.core.codec import Prose, decode, encode
from kit.core.digest import Sha256, canonical_json, sha256_file
from kit.core.errors import DigestMismatch
from kit.core.files import write_atomic
from kit.core.schema import validate
from kit.result import dsse, folder
from kit.result.intoto import parse_typed, wrap
from kit.result.keys import Signer, Trusted, seal
from kit.result.signed import find_key

SUMMARY = "summary.json"
PREDICATE_TYPE = "urn:speedrun-kit:agent-run:v1"
SCHEMA = "agent-run.v1"
SPEC = "spec.json"


@dataclass(frozen=True, slots=True)
class JournalDigest:
    """The journal that a summary was made of."""

    lines: int
    head: Sha256
    """The digest of the last line, without its line feed."""


@dataclass(frozen=True, slots=True)
class SummaryNode:
    """One node."""

    id: int
    action: Action
    status: NodeStatus | None
    """None: the run has not ended the node."""
    reason: Prose
    submission_sha256: Sha256 | None
    run_id: str | None
    """The id of its evaluation; None if nothing was evaluated."""
    bundle_sha256: Sha256 | None
    time_ms: float | None
    val_loss: float | None
    fsr: float | None
    improved_over_start: bool | None
    ended_at: str | None
    account: NodeAccount


@dataclass(frozen=True, slots=True)
class SummaryTotals:
    """What the whole run spent."""

    known: Amounts
    """As reported by the endpoint and measured by the host."""
    unknown: Amounts
    """Worst-case charges for what may have been spent and was not reported."""
    account: NodeAccount


@dataclass(frozen=True, slots=True)
class SummaryWinner:
    """The fastest valid node."""

    node: int
    time_ms: float
    fsr: float | None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did."""

    run: str
    """The run's id: the first digits of the spec's digest."""
    kit_version: str
    task: str
    scaffold: str
    model: Prose
    spec_sha256: Sha256
    journal: JournalDigest
    started_at: str
    last_at: str
    """The time of the journal's last line."""
    end: EndReason | None
    """None: the run was interrupted, or goes on."""
    winner: SummaryWinner | None
    retimed: Retimed | None
    """The winner's times in a fresh series, if it was timed again."""
    nodes: tuple[SummaryNode, ...]
    totals: SummaryTotals


@dataclass(frozen=True, slots=True)
class SignedSummary:
    """A summary under a signature that was verified."""

    summary: RunSummary
    subjects: tuple[tuple[str, Sha256], ...]
    """File in the run's directory -> sha256."""
    key_id: Sha256
    trusted: bool
    """The reader chose the key."""


def write_summary(where: Path, signer: Signer) -> Path:
    """
    Sign the summary of the run in the directory `where`, and replace an older one; return its path.

    Call it when the run has ended, and again after the winner was timed again. Raises `IntegrityError` for a
    changed journal, and `SchemaError` if the summary violates its schema.
    """
    summary = summarize(read_run(where))
    subjects = [(name, sha256_file(where / name)) for name in (SPEC, JOURNAL)]
    document = wrap(PREDICATE_TYPE, subjects, encode(RunSummary, summary))
    validate(SCHEMA, document, SUMMARY)
    folder.leave_key(where, signer)
    write_atomic(where / SUMMARY, seal(canonical_json(document), signer))
    return where / SUMMARY


def read_summary(path: Path, trusted: Trusted) -> SignedSummary:
    """
    Verify the signature and the schema of a summary; the run's other files are not read.

    Raises `PrerequisiteError`, `SignatureError` and `SchemaError`.
    """
    envelope = dsse.envelope_of(dsse.parse_canonical(dsse.read_file(path), path.name))
    key, known = find_key(path, envelope.hint, trusted)
    key.verify(envelope.signature, dsse.pae(envelope.payload_type, envelope.payload))
    document = parse_typed(envelope, PREDICATE_TYPE)
    validate(SCHEMA, document, path.name)
    summary: RunSummary = decode(RunSummary, document["predicate"], "$.predicate")
    subjects = tuple((s["name"], Sha256(s["digest"]["sha256"])) for s in document["subject"])
    if sorted(name for name, _ in subjects) != sorted((SPEC, JOURNAL)):
        raise DigestMismatch(f"{path.name}: expected the subjects {SPEC} and {JOURNAL}")
    return SignedSummary(summary, subjects, key.key_id, known)


def summarize(run: RecordedRun) -> RunSummary:
    """Return the summary of a run; it follows from the journal alone."""
    spec, winner, end = run.spec, run.tree.winner(), run.tree.ended
    return RunSummary(
        run=run_id(spec),
        kit_version=spec.kit_version,
        task=str(spec.task),
        scaffold=spec.policy.name,
        model=spec.model.name,
        spec_sha256=spec_sha256(spec),
        journal=JournalDigest(len(run.lines), run.contents.head),
        started_at=run.lines[0].time,
        last_at=run.lines[-1].time,
        end=None if end is None else end.reason,
        winner=None if winner is None else _winner(run.tree.node(winner)),
        retimed=run.retimed,
        nodes=tuple(node_summary(run, node) for node in run.tree.nodes),
        totals=SummaryTotals(run.spent.known, run.spent.unknown, run.account()),
    )


def _winner(node: Node) -> SummaryWinner | None:
    outcome = node.evaluation
    if outcome is None or outcome.time_ms is None:
        return None
    return SummaryWinner(node.id, outcome.time_ms, outcome.fsr)


def node_summary(run: RecordedRun, node: Node) -> SummaryNode:
    """Return what a summary says about a node."""
    outcome = node.evaluation
    return SummaryNode(
        id=node.id,
        action=node.action,
        status=node.status,
        reason=node.reason,
        submission_sha256=None if node.submission_sha256 is None else Sha256(node.submission_sha256),
        run_id=None if outcome is None else outcome.run_id,
        bundle_sha256=None if outcome is None else Sha256(outcome.bundle_sha256),
        time_ms=None if outcome is None else outcome.time_ms,
        val_loss=None if outcome is None else outcome.val_loss,
        fsr=None if outcome is None else outcome.fsr,
        improved_over_start=node.improved_over_start,
        ended_at=ended_at(run, node.id),
        account=run.account(node.id),
    )

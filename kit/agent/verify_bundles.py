"""Verify the signed bundles of a run, and compare what they say with its journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kit.agent.events import EvaluationEnded
from kit.agent.node import EvaluationStatus
from kit.agent.nodefiles import NodeFiles
from kit.agent.outcome import findings_of, outcome_of, reference_of_spec
from kit.agent.recorded import RecordedRun, bundle_folder, fault_text, read_file, require_file
from kit.core.codec import prose
from kit.core.digest import sha256_bytes
from kit.core.errors import KitError
from kit.result.folder import BUNDLE
from kit.result.keys import Trusted
from kit.result.predicate import CompileCache
from kit.result.verify import VerifiedBundle, open_bundle


def bundle_faults(run: RecordedRun, trusted: Trusted, key_id: str | None) -> Iterator[str]:
    """
    Yield each bundle that is missing, invalid, or says something else than the journal.

    `key_id` is the key of the summary, which must have signed every bundle; None without a summary.
    """
    for event in run.contents.events:
        if not isinstance(event, EvaluationEnded):
            continue
        where = f"bundle {event.outcome.run_id} of node {event.node}"
        try:
            path = bundle_folder(run.folder, event.outcome.run_id) / BUNDLE
            if sha256_bytes(read_file(path)) != event.outcome.bundle_sha256:
                yield f"{where} does not have the digest in the journal"
                continue
            bundle = open_bundle(path, trusted)
        except (KitError, OSError) as e:
            yield f"{where}: {fault_text(e)}"
            continue
        yield from (f"{where}: {fault}" for fault in _contents_faults(run, event, bundle, key_id))


def _contents_faults(
    run: RecordedRun, event: EvaluationEnded, bundle: VerifiedBundle, key_id: str | None
) -> Iterator[str]:
    told, p = event.outcome, bundle.predicate
    # A run without isolation has a throwaway key; the summary binds its bundle by the digest in the journal.
    own_key = p.environment.runtime.contains
    if own_key and key_id is not None and bundle.key_id != key_id:
        yield f"it is signed by {bundle.key_id[:12]}, and the summary by {key_id[:12]}"
    if p.run.compile_cache is CompileCache.WARM:
        yield "it started with a warm compile cache; evaluations of an agent start cold"
    submission = run.tree.node(event.node).submission_sha256
    if submission is not None and bundle.statement.subjects.submission != submission:
        yield "it is the result of another submission than the node's"
    found = outcome_of(p, told.bundle_sha256, reference_of_spec(run.spec))
    if told.status is EvaluationStatus.INFRA_FAILED:  # the engine's failure is not in the bundle
        return
    if replace(found, reason="") != replace(told, reason=""):
        yield "status, time, loss or FSR in the journal are not those of the bundle and the spec"
    if prose(found.reason) != told.reason:
        yield "the reason in the journal is not that of the bundle"
    if told.status is not EvaluationStatus.CANCELLED:
        yield from _shown_faults(run, event, bundle)


def _shown_faults(run: RecordedRun, event: EvaluationEnded, bundle: VerifiedBundle) -> Iterator[str]:
    """Yield whether what the model was shown of the evaluation differs from the bundle."""
    try:
        require_file(NodeFiles(run.folder, event.node).folder / "evaluated.json")
        shown = NodeFiles(run.folder, event.node).read_evaluated(event.outcome)
    except KitError as e:
        yield fault_text(e)
        return
    p = bundle.predicate
    losses = tuple((v.step, v.val_loss) for v in p.claims.val_points if v.val_loss is not None)
    if (shown.losses, shown.findings) != (losses, findings_of(p)):
        yield "evaluated.json has other losses or findings than the bundle"

"""Verify the signed bundles of a run, and compare what they say with its journal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from kit.agent.events import EvaluationEnded
from kit.agent.node import EvaluationOutcome, EvaluationStatus
from kit.agent.nodefiles import NodeFiles
from kit.agent.outcome import ReferenceTimes, findings_of, outcome_of
from kit.agent.recorded import RecordedRun, bundle_folder
from kit.core.codec import prose
from kit.core.digest import sha256_file
from kit.core.errors import KitError
from kit.core.text import one_line
from kit.result.folder import BUNDLE
from kit.result.keys import Trusted
from kit.result.verify import VerifiedBundle, open_bundle

_UNUSED = ReferenceTimes(1.0, 0.0)
"""FSR is compared by itself: the spec does not contain the target's time."""


def bundle_faults(run: RecordedRun, trusted: Trusted, key_id: str | None) -> Iterator[str]:
    """
    Yield each bundle that is missing, invalid, or says something else than the journal.

    `key_id` is the key of the summary, which must have signed every bundle; None without a summary.
    """
    outcomes: list[EvaluationOutcome] = []
    for event in run.contents.events:
        if not isinstance(event, EvaluationEnded):
            continue
        outcomes.append(event.outcome)
        where = f"bundle {event.outcome.run_id} of node {event.node}"
        path = bundle_folder(run.folder, event.outcome.run_id) / BUNDLE
        try:
            if sha256_file(path) != event.outcome.bundle_sha256:
                yield f"{where} does not have the digest in the journal"
                continue
            bundle = open_bundle(path, trusted)
        except (KitError, OSError) as e:
            yield f"{where}: {one_line(e.headline if isinstance(e, KitError) else f'{path}: {e.strerror}')}"
            continue
        yield from (f"{where}: {fault}" for fault in _contents_faults(run, event, bundle, key_id))
    yield from _fsr_faults(run, outcomes)


def _contents_faults(
    run: RecordedRun, event: EvaluationEnded, bundle: VerifiedBundle, key_id: str | None
) -> Iterator[str]:
    told, p = event.outcome, bundle.predicate
    if key_id is not None and bundle.key_id != key_id:
        yield f"it is signed by {bundle.key_id[:12]}, and the summary by {key_id[:12]}"
    submission = run.tree.node(event.node).submission_sha256
    if submission is not None and bundle.statement.subjects.submission != submission:
        yield "it is the result of another submission than the node's"
    found = outcome_of(p, told.bundle_sha256, _UNUSED)
    if told.status is EvaluationStatus.INFRA_FAILED:  # the engine's failure is not in the bundle
        return
    if replace(found, fsr=None, reason="") != replace(told, fsr=None, reason=""):
        yield "status, time or loss in the journal are not those of the bundle"
    if prose(found.reason) != told.reason:
        yield "the reason in the journal is not that of the bundle"
    if told.status is not EvaluationStatus.CANCELLED:
        yield from _shown_faults(run, event, bundle)


def _shown_faults(run: RecordedRun, event: EvaluationEnded, bundle: VerifiedBundle) -> Iterator[str]:
    """Yield whether what the model was shown of the evaluation differs from the bundle."""
    try:
        shown = NodeFiles(run.folder, event.node).read_evaluated(event.outcome)
    except KitError as e:
        yield one_line(e.headline)
        return
    p = bundle.predicate
    losses = tuple((v.step, v.val_loss) for v in p.claims.val_points if v.val_loss is not None)
    if (shown.losses, shown.findings) != (losses, findings_of(p)):
        yield "evaluated.json has other losses or findings than the bundle"


def _fsr_faults(run: RecordedRun, outcomes: list[EvaluationOutcome]) -> Iterator[str]:
    """Yield whether the FSRs are not measured between the same two times."""
    start = run.spec.evaluation.start_ms
    if start is None:
        return
    gaps = [
        (o.run_id, (start - o.time_ms) / o.fsr)
        for o in outcomes
        if o.time_ms is not None and o.fsr and math.isfinite(o.fsr)
    ]
    for run_id, gap in gaps[1:]:
        if not math.isclose(gap, gaps[0][1], rel_tol=1e-6):
            yield f"the FSR of {run_id} is measured between other times than that of {gaps[0][0]}"
    for o in outcomes:
        if (o.fsr is None) is not (o.time_ms is None):
            yield f"the FSR of {o.run_id} does not follow from its time"

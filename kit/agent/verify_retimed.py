"""Verify the series in which a run's winner was timed again, and count its times again."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from kit.agent.events import Retimed
from kit.agent.node import EvaluationOutcome, EvaluationStatus
from kit.agent.outcome import outcome_of, reference_of_spec
from kit.agent.recorded import RecordedRun, bundle_folder, fault_text
from kit.agent.series_score import reference_score, retimed_score
from kit.core.digest import sha256_file
from kit.core.errors import KitError
from kit.core.facts import facts_root
from kit.result.keys import Trusted
from kit.result.verify import open_bundle
from kit.series.documents import SignedDocuments, read_documents, run_mismatches
from kit.series.figures import open_series
from kit.series.record import Arm


def retimed_faults(run: RecordedRun, trusted: Trusted, key_id: str | None) -> Iterator[str]:
    """Yield how each series of a winner differs from what the journal says about it."""
    for event in _events(run):
        try:
            documents = read_documents(bundle_folder(run.folder, event.series), trusted)
            outcomes = list(_outcomes(run, event, documents, trusted))
        except (KitError, OSError) as e:
            yield f"series {event.series}: {fault_text(e)}"
            continue
        if key_id is not None and documents.key_id != key_id:
            yield f"series {event.series} is signed by {documents.key_id[:12]}, the summary by {key_id[:12]}"
        planned = sum(slot.arm is Arm.CANDIDATE for slot in documents.slots.values())
        if planned != event.runs:
            yield f"series {event.series} has {planned} runs of the winner, the journal says {event.runs}"
        faults = [text for text in outcomes if isinstance(text, str)]
        yield from (f"series {event.series}: {text}" for text in faults)
        if not faults:
            yield from _figure_faults(run, event, [o for o in outcomes if not isinstance(o, str)], trusted)


def retimed_names(run: RecordedRun, trusted: Trusted) -> set[str]:
    """Return the names of the series of winners, and of their runs."""
    names: set[str] = set()
    for event in _events(run):
        names.add(event.series)
        try:
            where = bundle_folder(run.folder, event.series)
            names |= set(read_documents(where, trusted, unfinished=True).slots)
        except KitError:
            continue
    return names


def _events(run: RecordedRun) -> list[Retimed]:
    return [event for event in run.contents.events if isinstance(event, Retimed)]


def _outcomes(
    run: RecordedRun, event: Retimed, documents: SignedDocuments, trusted: Trusted
) -> Iterator[EvaluationOutcome | str]:
    """Yield the outcome of each run of the winner, and what is wrong with a run."""
    submission = run.tree.node(event.node).submission_sha256
    for run_id in documents.bundles:
        path = bundle_folder(run.folder, run_id) / "result.json"
        bundle = open_bundle(path, trusted)
        sha256 = sha256_file(path)
        yield from run_mismatches(documents, bundle, sha256)
        if documents.slots[run_id].arm is Arm.CANDIDATE:
            if bundle.statement.subjects.submission != submission:
                yield f"{run_id} ran another submission than that of node {event.node}"
            yield outcome_of(bundle.predicate, sha256, reference_of_spec(run.spec))


def _figure_faults(
    run: RecordedRun, event: Retimed, outcomes: list[EvaluationOutcome], trusted: Trusted
) -> Iterator[str]:
    try:
        figures = open_series(bundle_folder(run.folder, event.series), trusted, facts_root() / "records")
    except (KitError, OSError) as e:
        yield f"series {event.series}: {fault_text(e)}"
        return
    times = [o.time_ms for o in outcomes if o.status is EvaluationStatus.REACHED and o.time_ms is not None]
    mean, reference = statistics.fmean(times) if times else None, reference_of_spec(run.spec)
    found = (
        len(times),
        mean,
        statistics.stdev(times) if len(times) > 1 else None,
        retimed_score(figures, reference, times),
        run.tree.time_ms(event.node),
    )
    told = (event.reached, event.mean_ms, event.sd_ms, event.fsr, event.search_ms)
    older = (*found[:3], reference_score(reference, times), *found[4:])
    if not _all_same(found, told) and _all_same(older, told):
        yield (
            f"series {event.series}: the FSR in the journal is against the times of the spec, as older "
            "versions of the kit wrote it, and not that of the series"
        )
        return
    if not _all_same(found, told):
        yield f"series {event.series}: mean, sd, FSR or count in the journal are not those of its runs"


def _all_same(some: Sequence[float | None], others: Sequence[float | None]) -> bool:
    return all(_same(one, other) for one, other in zip(some, others, strict=True))


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)

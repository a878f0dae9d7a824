"""What one evaluation of a cell can take, by its record's deadlines (`evaluation_bounds`). Starts nothing."""

from __future__ import annotations

from collections.abc import Callable

from kit.benchmark import records
from kit.evaluate.request import Places, Request
from kit.evaluate.terms import resolve_terms
from kit.sweep.bounds import EvaluationBound
from kit.sweep.grid import SweepCell
from kit.values.profile import Profile
from kit.values.task_id import listed_as


def evaluation_bounds(places: Places) -> Callable[[SweepCell], EvaluationBound]:
    """Return a function from a cell to the bound of one of its evaluations; each task is resolved once."""
    known: dict[tuple[str, str, int | None], EvaluationBound] = {}

    def bound(cell: SweepCell) -> EvaluationBound:
        key = cell.task, cell.profile, cell.gpus
        if key not in known:
            task = listed_as(cell.task)
            request = Request(record=task, profile=Profile(cell.profile), runtime=None, gpus=cell.gpus)
            terms = resolve_terms(request, records.load(places.records, task), places)
            known[key] = EvaluationBound(terms.deadlines.total_s, terms.gpus)
        return known[key]

    return bound

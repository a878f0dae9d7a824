"""Decide whether a record's script still does its task on another number of GPUs."""

from __future__ import annotations

from typing import assert_never

from kit.benchmark.records import Record, WorldSize
from kit.core.errors import UsageError
from kit.values.hardware import RECORD_GPUS

POSSIBLE = (1, 2, 4, 8)


def world_size_blockers(record: Record, gpus: int, accepted: bool, own_script: bool) -> tuple[str, ...]:
    """
    Return why a run of `record` on `gpus` GPUs cannot be ranked; empty on 8.

    Raises `UsageError` for a number that no script splits its work by, for one at which the record's script
    stops, and, unless `accepted`, for one that changes the record's optimisation steps. The rule is that of
    the record's own script: what a submission does with that number is not known.
    """
    if gpus not in POSSIBLE:
        raise UsageError(f"a full run uses 1, 2, 4 or 8 GPUs, not {gpus}", "pass --gpus 8")
    if gpus == RECORD_GPUS:
        return ()
    if record.world_size.keeps_the_record(gpus):
        same = "the steps are the record's, but the time is not comparable"
        return (f"with {gpus} of {RECORD_GPUS} GPUs {same}",)
    change = _change(record, gpus)
    if own_script and record.world_size is WorldSize.EXACTLY_8:
        raise UsageError(
            f"record {record.name} cannot run: with {gpus} of {RECORD_GPUS} GPUs {change}",
            f"pass --gpus {RECORD_GPUS}",
        )
    if not accepted:
        raise UsageError(
            f"record {record.name} would be a different task: with {gpus} of {RECORD_GPUS} GPUs {change}",
            f"pass --gpus {RECORD_GPUS}, or --accept-world-size for a run that is never ranked",
        )
    return (f"with {gpus} of {RECORD_GPUS} GPUs {change}",)


def _change(record: Record, gpus: int) -> str:
    note = f" ({record.world_size_note})" if record.world_size_note else ""
    match record.world_size:
        case WorldSize.EXACTLY_8:
            return f"its script stops at once{note}"
        case WorldSize.BATCH_SCALES:
            smaller = record.tokens_per_step * gpus // RECORD_GPUS
            return f"each step sees {smaller:,} tokens instead of {record.tokens_per_step:,}{note}"
        case WorldSize.ACCUMULATES | WorldSize.SPLITS:
            return f"its script does not split its batch over {gpus}{note}"
        case _:
            assert_never(record.world_size)

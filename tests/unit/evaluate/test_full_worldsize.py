"""A number of GPUs that changes what a record does is refused, or accepted by a flag and never ranked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kit.benchmark import records
from kit.benchmark.records import WorldSize
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.evaluate.worldsize import world_size_blockers


def record(number):
    return records.load(facts_root() / "records", number)


@pytest.mark.parametrize("number", range(1, 22))
def test_every_record_runs_on_eight_gpus_without_a_warning(number):
    assert world_size_blockers(record(number), 8, accepted=False, own_script=True) == ()


@pytest.mark.parametrize("gpus", [0, 3, 5, 6, 7, 9, 16])
def test_a_number_that_no_script_splits_by_is_refused_even_if_accepted(gpus):
    with pytest.raises(UsageError, match="1, 2, 4 or 8 GPUs"):
        world_size_blockers(record(10), gpus, accepted=True, own_script=True)


@pytest.mark.parametrize("number", [1, 2])
def test_a_script_that_would_stop_is_refused_even_if_accepted(number):
    with pytest.raises(UsageError, match="asserts") as refused:
        world_size_blockers(record(number), 4, accepted=True, own_script=True)
    assert refused.value.hint == "pass --gpus 8"


def test_a_submission_may_do_what_the_records_script_cannot_but_is_never_ranked():
    (why,) = world_size_blockers(record(1), 4, accepted=True, own_script=False)
    assert "with 4 of 8 GPUs its script stops" in why


@pytest.mark.parametrize(("number", "tokens"), [(3, "262,144 tokens instead of 524,288"), (21, "196,608")])
def test_a_batch_that_would_shrink_in_silence_is_refused_with_what_would_change(number, tokens):
    with pytest.raises(UsageError) as refused:
        world_size_blockers(record(number), 4, accepted=False, own_script=True)
    assert tokens in refused.value.message
    assert "--gpus 8" in refused.value.hint and "--accept-world-size" in refused.value.hint


def test_a_changed_batch_that_is_accepted_is_kept_from_ranking_by_name():
    (why,) = world_size_blockers(record(3), 1, accepted=True, own_script=True)
    assert "65,536 tokens instead of 524,288" in why


@pytest.mark.parametrize("number", [4, 10, 18])
@pytest.mark.parametrize("gpus", [1, 2, 4])
def test_a_script_that_accumulates_needs_no_leave_but_its_time_is_not_the_records(number, gpus):
    (why,) = world_size_blockers(record(number), gpus, accepted=False, own_script=True)
    assert why == f"with {gpus} of 8 GPUs the steps are the record's, but the time is not comparable"


def test_the_rule_decides_not_the_number_of_the_record():
    scaled = replace(record(10), world_size=WorldSize.BATCH_SCALES)
    with pytest.raises(UsageError):
        world_size_blockers(scaled, 4, accepted=False, own_script=True)

"""The published crash table is what the recorded outcomes give, with everything that can be tried."""

from __future__ import annotations

import json

import crash_page
import dying
import faults
import pytest
from fault import BOTH

KEPT = json.loads(crash_page.KEPT.read_text())
AGAIN = "run: make crash, and make crash RUNTIME=docker"
STORE = {"store", "full-store"}


def test_the_page_is_the_one_that_the_outcomes_give():
    assert crash_page.PAGE.read_text() == crash_page.spelled(KEPT), AGAIN


@pytest.mark.parametrize("part", [part for part, _ in crash_page.PROMISES])
def test_every_kind_of_kill_was_tried_in_both_runtimes(part):
    assert set(KEPT["kills"][part]) == set(BOTH), AGAIN


@pytest.mark.parametrize("runtime", BOTH)
def test_every_named_moment_was_tried(runtime):
    assert [k["moment"] for k in KEPT["kills"]["points"][runtime]] == list(dying.POINTS), AGAIN


def test_every_fault_was_made_where_it_means_something():
    assert set(KEPT["faults"]) - STORE == {f.name for f in faults.FAULTS}, AGAIN
    for fault in faults.FAULTS:
        assert set(KEPT["faults"][fault.name]["outcomes"]) == set(fault.runtimes), f"{fault.name}: {AGAIN}"


def test_nothing_that_is_recorded_came_out_wrong():
    kills = [k for part in KEPT["kills"].values() for rows in part.values() for k in rows]
    made = [o for fault in KEPT["faults"].values() for o in fault["outcomes"].values()]
    assert [one for one in (*kills, *made) if one["wrong"]] == []

"""A few rows of the crash table (`make crash` makes all): a killed kit loses no run and leaves no guest."""

from __future__ import annotations

import os

import killing
import pytest
import workbench

pytestmark = [pytest.mark.container, pytest.mark.network]


@pytest.fixture(scope="module")
def bench(cpu_image):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with workbench.bench("runc") as found:
        yield found


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """How soon nothing is left is measured by `make crash`."""
    monkeypatch.setattr(killing, "WITHIN_S", 60.0)


@pytest.mark.parametrize(
    ("point", "ends"),
    [
        ("after the reservation appeared", ("lost",)),
        ("between the guest's start and its first line", ("lost",)),
        ("before the record is renamed", ("lost",)),
        ("after the record was renamed", ("completed",)),
        ("after the intent was removed", ("completed",)),
    ],
)
def test_a_kit_killed_at_a_moment_leaves_a_record_and_nothing_else(bench, point, ends):
    found = killing.at_point(bench, point)
    assert found.wrong == () and found.statuses == ends


def test_a_kit_killed_at_any_moment_leaves_records_and_nothing_else(bench):
    assert [killing.at_random(bench, 3.0).wrong for _ in range(3)] == [()] * 3

"""How much memory a guest of runc may lock: a root without the right to raise limits must keep to its own."""

from __future__ import annotations

import resource

import pytest

from kit.sandbox.runtime.runc import _locked_memory_limit

HARD = 8 << 20


@pytest.mark.parametrize(
    ("hard", "capabilities", "limit"),
    [
        (HARD, "000001ffffffffff", None),
        (HARD, "000001fffeffffff", HARD),
        (HARD, "0000000000000000", HARD),
        (resource.RLIM_INFINITY, "0000000000000000", None),
    ],
)
def test_only_a_process_that_may_raise_limits_ignores_its_own(
    monkeypatch, tmp_path, hard, capabilities, limit
):
    status = tmp_path / "status"
    status.write_text(f"Name:\tspeedrun\nCapEff:\t{capabilities}\n")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (0, hard))
    assert _locked_memory_limit(status) == limit

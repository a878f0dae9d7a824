"""Hypothesis tries the same examples in each run of the gate, whatever the tests before have imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def examples() -> list[list[int]]:
    found: list[list[int]] = []

    @settings(max_examples=100)
    @given(st.lists(st.integers(0, 10_000), min_size=5))
    def keep(numbers: list[int]) -> None:
        found.append(numbers)

    keep()
    return found


@pytest.mark.skipif("KIT_EXAMPLES" in os.environ, reason="the examples are random")
def test_a_module_that_was_imported_in_between_changes_no_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = examples()
    module = ModuleType("imported_late")
    module.__file__ = str(tmp_path / "imported_late.py")
    Path(module.__file__).write_text(f"NUMBERS = {[*range(1000, 2000)]}\n")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert examples() == before

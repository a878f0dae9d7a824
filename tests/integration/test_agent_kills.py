"""A 20-node search is killed at every journal line, call and evaluation, and cut after every line."""

from __future__ import annotations

import os
from pathlib import Path

import fake_search
import pytest

CHUNKS = 8


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_kill_at_any_point_changes_neither_tree_nor_files_nor_known_sums(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # a killed process leaves what it wrote, synced or not
    fake_search.compare_killed(tmp_path, range(chunk, fake_search.TICKS, CHUNKS))


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_journal_cut_after_any_line_gives_the_same_search(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    fake_search.compare_cut(tmp_path, range(1 + chunk, fake_search.LINES, CHUNKS))

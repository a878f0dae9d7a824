"""The true change of every task, written as SEARCH/REPLACE blocks, rebuilds the target byte for byte."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest

from kit.agent.edit.apply import apply_answer
from kit.benchmark.hints import TASKS, target_of
from kit.benchmark.records import fetch_script, load, sources
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.evaluate.start_script import files_of

pytestmark = pytest.mark.upstream

CONTEXT = 2
"""Lines before and after a change: with these, no change of the 19 tasks matches two places."""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    mirror = Path(os.environ["KIT_UPSTREAM_MIRROR"])

    def read(number):
        record = load(facts_root() / "records", number)
        files = files_of(fetch_script(record, store, sources(mirror)))
        return next(file.data for file in files if file.name == "train_gpt2.py")

    return read


def as_blocks(before: bytes, after: bytes) -> str:
    old, new = before.decode().split("\n"), after.decode().split("\n")
    groups = difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(CONTEXT)
    blocks = []
    for group in groups:
        (_, i1, _, j1, _), (_, _, i2, _, j2) = group[0], group[-1]
        parts = ["<<<<<<< SEARCH", *old[i1:i2], "=======", *new[j1:j2], ">>>>>>> REPLACE"]
        blocks.append("\n".join(parts))
    return "\n\n".join(blocks)


@pytest.mark.parametrize("task", TASKS)
def test_the_true_change_as_blocks_rebuilds_the_target(task, script):
    start, target = script(task), script(target_of(task))
    result = apply_answer({"train_gpt2.py": start}, as_blocks(start, target))
    assert result.reason == ""
    assert result.applied == {"train_gpt2.py": target}

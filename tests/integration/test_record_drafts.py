"""
Drafts of records that the kit has agree with their committed files in everything that a draft derives.

Left out unless `KIT_UPSTREAM_MIRROR` names a git directory of KellerJordan/modded-nanogpt.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator

import pytest

from kit.benchmark.records import ScriptSource, load
from kit.cli import run
from kit.core.facts import facts_root

pytestmark = pytest.mark.upstream

RECORDS = facts_root() / "records"
BY_A_PERSON = {
    "title",
    "target",
    "no_task",
    "task.kind",
    "task.recommended",
    "task.torch_differs",
    "task.runs_for_loss",
}
"""What a draft leaves to review; everything else is derived."""


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value of a document with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}".lstrip("."))
    else:
        yield path, value


@pytest.mark.parametrize("name", ["52", "62", "85", "89"])
def test_a_draft_agrees_with_the_committed_record(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    record = load(RECORDS, name)
    assert record.log is not None
    log = f"{record.log.file.commit}:{record.log.file.path}"
    source = [log]
    if record.script.source is ScriptSource.FILE:
        source = [record.script.origins[0].commit, "--log", log]
    more = ["--id", name, "--upstream", os.environ["KIT_UPSTREAM_MIRROR"]]
    assert run(["record", "draft", *source, *more]) == 0
    drafted = dict(leaves(tomllib.loads(capsys.readouterr().out)))
    committed = dict(leaves(tomllib.loads((RECORDS / f"{name}.toml").read_text())))
    # the reviewer's own words about the statistics, and statistics of another directory
    elsewhere = {path for path in committed if path.startswith("time.same_node")}
    if not {"time.same_node.commit", "time.same_node.folder"} & committed.keys():
        elsewhere = {"time.same_node.note"}
    known = committed.keys() - BY_A_PERSON - elsewhere
    assert {path: drafted.get(path) for path in known} == {path: committed[path] for path in known}
    assert drafted.keys() - committed.keys() - elsewhere <= {"title"}

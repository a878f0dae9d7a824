"""The spec of a run: its digest, its file, and the names of what differs."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from fake_search import make_spec

from kit.agent.budget import Budget
from kit.agent.policy import POLICIES, SearchFidelity
from kit.agent.spec import (
    AgentSpec,
    KnowledgeDigest,
    ModelChoice,
    differences,
    read_spec,
    run_id,
    spec_sha256,
    write_spec,
)
from kit.core.digest import Sha256, sha256_bytes
from kit.core.errors import PrerequisiteError, SchemaError

SHA = Sha256("f" * 64)
OTHERS: dict[str, object] = {
    "task": "4",
    "hints": (1,),
    "policy": replace(POLICIES["aide"], branch=2),
    "fidelity": SearchFidelity.RELEASED,
    "controls": 2,
    "model": ModelChoice("fake", (("base_url", "http://[::1]"),), Sha256("1" * 64)),
    "seed": 8,
    "budget": Budget(gpu_seconds=1.5),
    "evaluation": replace(make_spec().evaluation, start_ms=None),
    "start_sha256": SHA,
    "prompts_sha256": SHA,
    "knowledge": (KnowledgeDigest("flex.md", SHA),),
    "kit_version": "1",
}
NAMES = {
    "policy": "policy.branch",
    "model": "model.profile.base_url",
    "budget": "budget.gpu_seconds",
    "evaluation": "evaluation.start_ms",
}


@pytest.mark.parametrize("name", [field.name for field in fields(AgentSpec)])
def test_every_field_changes_the_digest_and_is_named(tmp_path: Path, name: str) -> None:
    one, other = make_spec(), make_spec(**{name: OTHERS[name]})
    assert spec_sha256(one) != spec_sha256(other)
    assert differences(one, other) == (NAMES.get(name, name),)
    for spec in (one, other):
        write_spec(tmp_path / "spec.json", spec)
        assert read_spec(tmp_path / "spec.json") == spec


def test_the_id_is_the_start_of_the_files_digest(tmp_path: Path) -> None:
    write_spec(tmp_path / "spec.json", make_spec())
    data = (tmp_path / "spec.json").read_bytes()
    assert sha256_bytes(data.removesuffix(b"\n")) == spec_sha256(make_spec())
    assert run_id(make_spec()) == spec_sha256(make_spec())[:16]
    assert differences(make_spec(), make_spec()) == ()


def test_an_invalid_spec_is_not_written_and_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="seed"):
        write_spec(tmp_path / "spec.json", make_spec(seed=-1))
    with pytest.raises(PrerequisiteError, match="does not exist"):
        read_spec(tmp_path / "spec.json")

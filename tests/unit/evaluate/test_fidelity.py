from __future__ import annotations

from types import SimpleNamespace

import pytest

from kit.benchmark.records import load
from kit.core.facts import facts_root
from kit.evaluate.prepare import fidelity_of
from kit.image.spec import read_spec

FACTS = facts_root()


def layout(era: str):
    return SimpleNamespace(era=era, fidelity=read_spec(FACTS / "images", era).fidelity)


@pytest.mark.parametrize(("number", "torch"), [(3, "unknown"), (4, "exact")])
def test_in_its_own_era_a_record_says_how_near_torch_is(number, torch):
    found = dict(fidelity_of(load(FACTS / "records", number), layout("torch-2.4.1")))
    assert found["torch"] == torch
    assert found["python"] == "unknown"


def test_in_another_era_the_image_says_it():
    record = load(FACTS / "records", 3)
    stated = {f.component: f.level for f in layout("cpu").fidelity}
    assert dict(fidelity_of(record, layout("cpu"))) == stated


def test_the_components_are_sorted():
    found = fidelity_of(load(FACTS / "records", 4), layout("torch-2.4.1"))
    assert [name for name, _ in found] == sorted(name for name, _ in found)

"""The facts are found beside the package, or it is said that they are missing."""

import pytest

from kit.core import facts
from kit.core.errors import PrerequisiteError


def test_a_package_without_its_facts_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(facts, "PACKAGE", tmp_path / "kit")
    with pytest.raises(PrerequisiteError, match="directories images/ and records/ not found in ") as e:
        facts.facts_root()
    assert e.value.hint == "reinstall speedrun-kit"


def test_an_installed_package_brings_them(monkeypatch, tmp_path):
    for name in ("images", "records"):
        (tmp_path / "kit" / "_facts" / name).mkdir(parents=True)
    monkeypatch.setattr(facts, "PACKAGE", tmp_path / "kit")
    assert facts.facts_root() == tmp_path / "kit" / "_facts"

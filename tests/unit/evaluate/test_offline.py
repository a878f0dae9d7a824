"""`--offline` uses no network, not even for a record's own script."""

from dataclasses import replace

import pytest

from kit.benchmark.records import fetch_script, load
from kit.benchmark.records.upstream import CloneFile, HttpsFile
from kit.core.errors import KitError
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.evaluate.plan import draft
from kit.evaluate.request import Places, Request
from kit.evaluate.start_script import script_sources
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName
from kit.values.software import Kit


@pytest.fixture
def places(tmp_path, monkeypatch):
    def fetch(self, *arguments):
        raise AssertionError(f"{self.source} was asked")

    monkeypatch.setattr(HttpsFile, "fetch", fetch)
    root = facts_root()
    return Places(
        root / "records", root / "images", Store(tmp_path / "store"), tmp_path / "runs", tmp_path / "keys",
        fetchers=(), kit=Kit("0", None), offline=True,
    )  # fmt: skip


def test_a_script_that_is_not_in_the_store_is_not_fetched(places):
    record = load(places.records, 3)
    with pytest.raises(KitError):
        fetch_script(record, places.store, script_sources(places))
    with pytest.raises(AssertionError, match="was asked"):
        fetch_script(record, places.store, script_sources(replace(places, offline=False)))


def test_the_audits_go_without_it(places):
    plan = draft(Request(3, Profile.FULL, runtime=RuntimeName.RUNC), places)
    assert plan.terms.start_script.files(places) is None


def test_a_local_mirror_may_be_asked(places, tmp_path):
    record = load(places.records, 3)
    found = script_sources(replace(places, upstream=tmp_path))(record.script.origins[0])
    assert any(isinstance(source, CloneFile) for source in found)

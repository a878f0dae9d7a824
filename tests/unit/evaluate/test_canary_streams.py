"""A canary stream that a guest was to draw and did not is no stream, and nothing of it is kept."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kit.bundle.predicate import Kit, Profile
from kit.errors import RunError
from kit.evaluate import streams
from kit.evaluate.lost import lost_result
from kit.evaluate.plan import draft
from kit.evaluate.prepare import prepared
from kit.evaluate.request import Places, Request
from kit.facts import facts_root
from kit.run.result import RunStatus
from kit.run.spec import RuntimeName
from kit.store import Store


def test_a_sampler_that_fails_is_named_with_its_log(tmp_path):
    root, store, log = facts_root(), Store(tmp_path / "store"), tmp_path / "sampler.log"
    places = Places(
        root / "records", root / "images", store, tmp_path / "runs", tmp_path / "keys",
        fetchers=(), kit=Kit("0", None),
    )  # fmt: skip
    request = Request(3, Profile.SMOKE, runtime=RuntimeName.HOST, python=Path(sys.executable))

    def fails(spec):
        return replace(lost_result(spec, "the guest exited with 1"), status=RunStatus.CRASHED), log

    said = "sampler's guest ended as crashed: the guest exited with 1"
    with prepared(draft(request, places), places) as ready, pytest.raises(RunError, match=said) as e:
        streams.model(ready, store, "seed", fails)
    assert e.value.hint == f"see {log}"
    assert list((store.root / "canary").iterdir()) == []

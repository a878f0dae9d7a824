"""A canary stream that a guest was to draw and did not is no stream, and nothing of it is kept."""

import base64
import sys
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from kit.core.errors import RunError
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.data.shard import BOS
from kit.evaluate import streams
from kit.evaluate.interrupted import lost_result
from kit.evaluate.plan import draft
from kit.evaluate.prepare import prepared
from kit.evaluate.request import Places, Request
from kit.values.profile import Profile
from kit.values.run_result import RunStatus
from kit.values.run_spec import RuntimeName
from kit.values.software import Kit


@pytest.fixture
def ready(tmp_path):
    """A smoke run that is prepared, and its store."""
    root, store = facts_root(), Store(tmp_path / "store")
    places = Places(
        root / "records", root / "images", store, tmp_path / "runs", tmp_path / "keys",
        fetchers=(), kit=Kit("0", None),
    )  # fmt: skip
    request = Request(3, Profile.SMOKE, runtime=RuntimeName.HOST, python=Path(sys.executable))
    with prepared(draft(request, places), places) as found:
        yield found, store


def test_a_sampler_that_fails_is_named_with_its_log(ready, tmp_path):
    found, store = ready
    log = tmp_path / "sampler.log"

    def fails(spec):
        return replace(lost_result(spec, "the guest exited with 1"), status=RunStatus.CRASHED), log

    said = "run that draws the canary text ended with status crashed: the guest exited with 1"
    with pytest.raises(RunError, match=said) as e:
        streams.model(found, store, "seed", fails)
    assert e.value.hint == f"see {log}"
    assert list((store.root / "canary").iterdir()) == []


@pytest.fixture
def sampler(ready, tmp_path):
    """A guest that prints a stream of BOS alone; it counts how often it was asked."""
    tokens = array("H", [BOS]) * (ready[0].plan.terms.val_tokens + 1)
    log = tmp_path / "sampler.log"
    pieces = (
        f"sample {at} {base64.b64encode(tokens[at : at + 8192].tobytes()).decode()}\n"
        for at in range(0, len(tokens), 8192)
    )
    log.write_text("".join(pieces) + f"sampled {len(tokens) - 1} {len(tokens) - 1}.0 {len(tokens) - 1}.0\n")
    asked = []

    def run(spec):
        asked.append(spec.run_id)
        return replace(lost_result(spec, "it exited with 0"), status=RunStatus.COMPLETED), log

    return run, asked


def test_a_stream_is_drawn_once_and_the_store_has_it_from_then_on(ready, sampler):
    (found, store), (run, asked) = ready, sampler
    first = streams.model(found, store, "seed", run)
    assert streams.model(found, store, "seed", run) == first and len(asked) == 1
    assert first.floor == 1.0 and first.scored == found.plan.terms.val_tokens


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("stream.bin", lambda data: data[:-2] + b"\1\2"),
        ("stream.bin", lambda data: data[:-2]),
        ("stream.json", lambda data: b"{}"),
        ("stream.json", lambda data: data[:-1]),
        ("stream.json", lambda data: b"[]"),
    ],
    ids=["a token changed", "a token gone", "an empty summary", "a cut summary", "another summary"],
)
def test_a_stream_that_was_spoiled_in_the_store_is_drawn_again(ready, sampler, name, change):
    (found, store), (run, asked) = ready, sampler
    first = streams.model(found, store, "seed", run)
    [spoiled] = (store.root / "canary").glob(f"*/{name}")
    data = spoiled.read_bytes()
    spoiled.chmod(0o644)
    spoiled.write_bytes(change(data))
    assert streams.model(found, store, "seed", run) == first and len(asked) == 2
    assert spoiled.read_bytes() == data

"""Bundles and series from anybody, also from a trusted key: verified, or refused by a numbered step."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from mutation import QUICK, grafted, json_of, mutated, reads_or_refuses
from seeds import press

from kit.benchmark.records import load
from kit.cli.result_text import format_bundle
from kit.core.codec import decode, encode
from kit.core.digest import canonical_json, sha256_bytes
from kit.core.errors import KitError
from kit.core.facts import facts_root
from kit.result import dsse, keys, statement
from kit.result.appraisal.agreement import compare, tolerance
from kit.result.appraisal.trust import assess_tier
from kit.result.predicate import Predicate
from kit.result.verify import open_bundle
from kit.series.record import Arm, SeriesPlan, Slot, StopRule, close, read, reserved_series
from kit.values.profile import Profile

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "bundles"
GOOD = (ASSETS / "good.json").read_bytes()
PAYLOAD = base64.b64decode(json.loads(GOOD)["dsseEnvelope"]["payload"])
SIGNER = press().MAKE.SIGNER
TRUSTED = keys.Trusted((SIGNER.public,))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of the sample run."""
    folder = tmp_path_factory.mktemp("bundle") / "run"
    folder.mkdir()
    press().MAKE.write_run(folder)
    return folder


def _opened(run, data, bundle_only=False):
    (run / "result.json").write_bytes(data)
    try:
        found = open_bundle(run, TRUSTED, bundle_only)
    except KitError as e:
        assert re.match(r"step [0-7]: ", e.message), e.message
        raise
    assert format_bundle(found) and assess_tier(found.predicate, found.trusted)
    return found


@QUICK
@given(json_of(GOOD))
def test_a_bundle_that_was_changed_after_it_was_signed(run, data):
    found = reads_or_refuses(_opened, run, data)
    assert found is None or data == GOOD, "no changed byte verifies"


@QUICK
@given(grafted(json.loads(PAYLOAD)))
def test_a_payload_of_any_content_that_a_trusted_key_signed(run, document):
    reads_or_refuses(_signed, run, document)


def _signed(run, document):
    return _opened(run, keys.seal(canonical_json(document), SIGNER), bundle_only=True)


@QUICK
@given(mutated(PAYLOAD))
def test_a_payload_of_any_bytes_that_a_trusted_key_signed(run, payload):
    reads_or_refuses(_opened, run, keys.seal(payload, SIGNER))


@QUICK
@given(grafted(json.loads(PAYLOAD)["predicate"]))
def test_a_predicate_is_decoded_into_what_encodes_to_it_again(document):
    found = reads_or_refuses(decode, Predicate, document)
    if found is not None:
        again = reads_or_refuses(encode, Predicate, found)
        assert json.loads(json.dumps(again)).keys() == document.keys()


@QUICK
@given(mutated((ASSETS / "guest.log").read_bytes()), mutated((ASSETS / "stamps").read_bytes()))
def test_a_log_that_was_changed_and_signed_again(run, log, stamps):
    """The digests fit; the claims are derived from whatever bytes there are."""
    mine = run.parent / "again"
    shutil.rmtree(mine, ignore_errors=True)
    shutil.copytree(run, mine)
    (mine / "guest.log").write_bytes(log)
    (mine / "stamps").write_bytes(stamps)
    document = json.loads(PAYLOAD)
    for subject in document["subject"]:
        if subject["name"] in ("guest.log", "stamps"):
            subject["digest"]["sha256"] = sha256_bytes((mine / subject["name"]).read_bytes())
    reads_or_refuses(_opened, mine, keys.seal(canonical_json(document), SIGNER))


@QUICK
@given(grafted(json.loads(PAYLOAD)))
def test_two_results_are_compared_whatever_they_say(document):
    mine = statement.parse(json.loads(PAYLOAD))
    theirs = reads_or_refuses(statement.parse, document)
    if theirs is not None:
        compare(mine, theirs, tolerance(Profile.FULL, load(facts_root() / "records", 3)))


@QUICK
@given(json_of(GOOD))
def test_an_envelope(data):
    reads_or_refuses(lambda: dsse.envelope_of(dsse.parse_canonical(data, "the place")))


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """The folder of a series of two runs that never started, and its plan."""
    out = tmp_path_factory.mktemp("series")
    slots = tuple(
        Slot(f"r03-20260101T000000Z-{n:08x}", f"{n:032x}", Arm.CANDIDATE, sha256_bytes(b"")) for n in range(2)
    )
    plan = SeriesPlan(
        "s03-20260101T000000Z-00000000",
        "2026-01-01T00:00:00.000+00:00",
        3,
        Profile.FULL,
        StopRule.ALL_RUNS,
        slots,
    )
    with reserved_series(out, plan, SIGNER) as (where, _):
        close(where, plan, SIGNER, "the end")
    return where


@pytest.mark.parametrize("name", ["plan.json", "series.json"])
@QUICK
@given(data=mutated(GOOD))
def test_a_series_that_was_changed(series, name, data):
    (series / "x.json").write_bytes(data)
    reads_or_refuses(read, series / "x.json", TRUSTED)
    whole = (series / name).read_bytes()
    (series / "x.json").write_bytes(whole[: len(data) % len(whole)])
    assert reads_or_refuses(read, series / "x.json", TRUSTED) is None


@pytest.mark.parametrize("name", ["plan.json", "series.json"])
def test_a_series_of_any_content_that_a_trusted_key_signed(series, name):
    payload = json.loads(
        base64.b64decode(json.loads((series / name).read_bytes())["dsseEnvelope"]["payload"])
    )

    @QUICK
    @given(grafted(payload))
    def check(document):
        reads_or_refuses(_series, series, document)

    check()


def _series(series, document):
    (series / "x.json").write_bytes(keys.seal(canonical_json(document), SIGNER))
    return read(series / "x.json", TRUSTED)


def test_the_seeds_are_good(run):
    assert _opened(run, GOOD).trusted and _signed(run, json.loads(PAYLOAD))

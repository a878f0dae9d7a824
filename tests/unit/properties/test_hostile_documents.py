"""Documents from anywhere, JSON and TOML: read, or refused with an error that names the place."""

from __future__ import annotations

import json
import math
import shutil
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutation import DEEP, LONG, QUICK, json_of, mutated, reads_or_refuses

from kit.benchmark import records
from kit.benchmark.hints import load_markers
from kit.benchmark.submission import load_submission
from kit.cli.machine import docker_socket
from kit.core.errors import SchemaError
from kit.core.schema import parse_json
from kit.core.store import Store
from kit.data.dataset import load_dataset
from kit.data.memo import Memo
from kit.data.synth import load_smoke
from kit.image.lock import parse_lock
from kit.image.spec import read_spec
from kit.leaderboard.submit.entry import read_entry
from kit.result.keys import throwaway
from kit.result.reservation import is_unsigned_v1, read_reservation
from kit.sandbox.folder import RunFolder
from kit.sandbox.isolation_probe import read_checks

OWN = throwaway().public
ROOT = Path(__file__).resolve().parents[3]
LOCK = (ROOT / "images" / "cpu" / "lock.json").read_bytes()
IMAGE = (ROOT / "images" / "cpu" / "image.toml").read_bytes()
RECORD = (ROOT / "records" / "03.toml").read_bytes()
EVIDENCE = (ROOT / "records" / "evidence.toml").read_bytes()
SMOKE = (ROOT / "records" / "smoke.toml").read_bytes()
DATASET = (ROOT / "records" / "fineweb10B.toml").read_bytes()
MARKERS = (ROOT / "hints" / "markers.toml").read_bytes()
PROBE = json.dumps({"checks": [{"id": "network", "passed": True, "detail": "no way out"}] * 3}).encode()
RUN = b'args = ["--lr", "0.1"]\n'
ENTRY = json.dumps(
    {"agent": "a", "model": None, "hints": [1], "note": None, "capsule": None, "retracted": None}
).encode()
ANY = json.dumps({"a": [1, 2.5, "x", None, {"b": "\u00e9"}], "c": -7}).encode()


@QUICK
@given(json_of(ANY))
def test_json_is_read_as_finite_values_of_text_that_can_be_written(data):
    found = reads_or_refuses(parse_json, data, "the place", places=("the place",))
    _finite(found)
    json.dumps(found, ensure_ascii=False).encode()


def _finite(value):
    if isinstance(value, float):
        assert math.isfinite(value)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _finite(inner)


@pytest.mark.parametrize(
    "text",
    [
        DEEP, '{"a":' * 100_000, LONG, f"-{LONG}", "1e999", "-1e999", "NaN", "[Infinity]", '{"a":1,"a":2}',
        "", '"\\ud800"', '["\\uDFFF"]', '{"\\ud800": 1}', "\0", '"\0"', "[1]x", "\ufeff[1]", "nul",
    ],
    ids=lambda text: text[:12].encode("unicode_escape").decode() or "empty",
)  # fmt: skip
def test_json_that_means_nothing_or_two_things_is_refused(text):
    with pytest.raises(SchemaError, match="the place"):
        parse_json(text.encode("utf-8", "surrogatepass"), "the place")


def test_a_document_beyond_the_limit_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr("kit.core.schema.json.loads", lambda *a, **k: pytest.fail("it was parsed"))
    with pytest.raises(SchemaError, match="larger than"):
        parse_json(b"[" * ((64 << 20) + 1), "the place")


@QUICK
@given(json_of(LOCK))
def test_a_lock(data):
    reads_or_refuses(parse_lock, data, "lock.json", places=("lock.json",))


def test_a_line_end_behind_a_digest_or_a_name_is_no_part_of_it():
    for text in ('.whl"', '"sha256": "'):
        at = LOCK.index(text.encode()) + (4 if text[0] == "." else len(text) + 64)
        with pytest.raises(SchemaError, match="does not match"):
            parse_lock(LOCK[:at] + b"\\n" + LOCK[at:], "lock.json")


@QUICK
@given(mutated(IMAGE))
def test_an_image_toml(tmp_path_factory, data):
    images = tmp_path_factory.getbasetemp() / "images"
    _write(images / "cpu" / "image.toml", data)
    reads_or_refuses(read_spec, images, "cpu", places=("image.toml",))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epoch = ", "epoch = 0001-01-01T00:00:00+14:00 #"),
        ("epoch = ", "epoch = 9999-12-31T23:59:59-14:00 #"),
        ("epoch = ", "epoch = 1969-01-01T00:00:00Z #"), ("[env]", '[env]\nX = "a\\u0000"'),
        ("epoch = ", "epoch = 12:00:00 #"), ("[wheels]", "[wheels]\nx = " + "[" * 5000),
    ],
)  # fmt: skip
def test_an_image_toml_whose_values_have_the_right_form_and_no_meaning(tmp_path, old, new):
    _write(tmp_path / "cpu" / "image.toml", IMAGE.replace(old.encode(), new.encode(), 1))
    assert reads_or_refuses(read_spec, tmp_path, "cpu", places=("image.toml",)) is None


@QUICK
@given(mutated(RECORD))
def test_a_record(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "records"
    _write(folder / "03.toml", data)
    _write(folder / "evidence.toml", EVIDENCE)
    reads_or_refuses(records.load, folder, 3, places=("03.toml",))


@QUICK
@given(mutated(SMOKE))
def test_the_smoke_language(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "smoke"
    _write(folder / "smoke.toml", data)
    reads_or_refuses(load_smoke, folder, places=("smoke.toml",))


@QUICK
@given(mutated(DATASET))
def test_the_data_set(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "dataset"
    _write(folder / "fineweb10B.toml", data)
    reads_or_refuses(load_dataset, folder, places=("fineweb10B.toml",))


@QUICK
@given(mutated(MARKERS))
def test_the_markers_of_the_hints(tmp_path_factory, data):
    root = tmp_path_factory.getbasetemp() / "facts"
    _write(root / "hints" / "markers.toml", data)
    reads_or_refuses(load_markers, root, places=("markers.toml",))


@QUICK
@given(json_of(PROBE))
def test_what_the_probe_says(data):
    for check in reads_or_refuses(read_checks, data, places=("probe",)) or ():
        assert type(check.id) is type(check.detail) is str and type(check.passed) is bool


@QUICK
@given(st.one_of(mutated(RUN), mutated(b'args = ["\\u0000", "x"]\n[[a]]\n')))
def test_a_run_toml(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "submission"
    _write(folder / "train_gpt2.py", b"pass\n")
    _write(folder / "run.toml", data)
    found = reads_or_refuses(load_submission, folder, places=("run.toml",))
    assert found is None or all("\0" not in arg for arg in found.args)


@QUICK
@given(json_of(ENTRY))
def test_the_entry_of_a_submission(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "entry.json"
    path.write_bytes(data)
    reads_or_refuses(read_entry, path, places=("entry.json",))


@QUICK
@given(json_of(json.dumps({"7 1 2 3": "0" * 64}).encode()))
def test_the_memo_of_digests_is_forgotten_rather_than_believed(tmp_path_factory, data):
    store = Store(tmp_path_factory.getbasetemp() / "store")
    Memo(store)
    for path in (store.room("memo") / "sha256.json",):
        path.write_bytes(data)
    Memo(store)


@QUICK
@given(data=json_of(json.dumps({"currentContext": "x", "auths": {}}).encode()))
def test_the_settings_of_docker(tmp_path_factory, data):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.getbasetemp() / "docker"
        _write(folder / "config.json", data)
        patch.delenv("DOCKER_HOST", raising=False)
        patch.delenv("DOCKER_CONTEXT", raising=False)
        patch.setenv("DOCKER_CONFIG", str(folder))
        reads_or_refuses(docker_socket)


@QUICK
@given(json_of((ROOT / "tests" / "assets" / "bundles" / "good.json").read_bytes()))
def test_the_reservation_of_a_lost_run(tmp_path_factory, data):
    folder = RunFolder(tmp_path_factory.getbasetemp() / "r03")
    _write(folder.intent, data)
    reads_or_refuses(read_reservation, folder.intent, OWN, places=("intent.json",))
    reads_or_refuses(is_unsigned_v1, folder.intent, places=("intent.json",))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.write_bytes(data)


def test_the_seeds_are_good():
    assert parse_lock(LOCK, "x").artifacts and tomllib.loads(RECORD.decode()) and read_checks(PROBE)

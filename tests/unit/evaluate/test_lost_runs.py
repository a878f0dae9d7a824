"""Runs whose kit died are closed by the next one: each gets a record that verifies."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kit.core.errors import PrerequisiteError, SchemaError
from kit.evaluate.recovery import close_lost, lost_result, mark_lost
from kit.result import statement
from kit.result.appraisal import verdict
from kit.result.keys import trusted
from kit.result.verify import open_bundle
from kit.sandbox.folder import reserve
from kit.values.run_result import RunStatus

ASSETS = Path(__file__).parents[2] / "assets" / "bundles"


@pytest.fixture(scope="module")
def make():
    """The module that prints the sample run."""
    if "bundle_assets_make" not in sys.modules:
        spec = importlib.util.spec_from_file_location("bundle_assets_make", ASSETS / "make.py")
        sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[spec.name])
    return sys.modules["bundle_assets_make"]


@pytest.fixture
def lost(make, tmp_path):
    """Reserve a run whose kit is gone, and return its folder."""
    from kit.result.derive import claims_of, observations_of
    from kit.values.log import Grammar

    plain = make.predicate(ASSETS)
    empty = replace(lost_result(_spec(plain.run.id), "it died"), started_at=plain.run.started_at)
    drafted = replace(
        plain,
        run=replace(plain.run, status=RunStatus.LOST, exit_code=None, clock=None, ended_in=None),
        claims=claims_of((), Grammar.STEP),
        observations=observations_of(empty),
        score=replace(plain.score, ranked=False),
    )
    judged = verdict.judge(RunStatus.LOST, drafted.claims, 3.28, drafted.audit.checks)
    drafted = replace(
        drafted, score=replace(drafted.score, verdict=judged, unranked_because=("it was lost",))
    )
    submission = statement.parse(_payload()).subjects.submission
    none = empty.log_sha256
    intent = statement.statement(drafted, statement.Subjects(submission, none, none))

    def one(number: int = 0):
        run_id = f"r03-20260101T000000Z-{number:08x}"
        with reserve(tmp_path / "runs", run_id, intent, ASSETS / "submission") as folder:
            return folder

    return one


def _payload():
    import base64
    import json

    bundle = json.loads((ASSETS / "good.json").read_bytes())
    return json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))


def _spec(run_id):
    from kit.values.run_spec import RunSpec

    return RunSpec(run_id, None, ASSETS / "submission", ("true",), ())


def test_a_lost_run_gets_a_record_that_binds_the_output_that_there_was(lost, tmp_path):
    folder = lost()
    folder.log.write_bytes(b"half a li")
    folder.stamps.write_bytes(b'[1,"o",9,0]\n')
    assert close_lost(tmp_path / "runs", tmp_path / "keys") == [folder]
    p = open_bundle(folder.path, trusted(tmp_path / "keys")).predicate
    assert p.run.status is RunStatus.LOST and p.observations.output_bytes == 9
    assert sorted(f.name for f in folder.path.iterdir() if f.name.startswith(".")) == []
    assert close_lost(tmp_path / "runs", tmp_path / "keys") == []


def test_several_are_closed_at_once_and_two_kits_do_not_close_one_twice(lost, tmp_path):
    runs = [lost(n) for n in range(5)]
    code = (
        "import sys\nfrom pathlib import Path\nfrom kit.evaluate.recovery import close_lost\n"
        "print(len(close_lost(Path(sys.argv[1]), Path(sys.argv[2]))))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "runs"), str(tmp_path / "keys")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(p.communicate()[0]) for p in both) == 5
    for folder in runs:
        open_bundle(folder.path, trusted(tmp_path / "keys"))


def test_an_intent_that_was_changed_is_named_with_what_to_do_and_keeps_no_other_run_open(lost, tmp_path):
    folder, other = lost(0), lost(1)
    folder.intent.write_bytes(b"{")
    with pytest.raises(
        SchemaError, match=r"r03-.* lost its kit, and its intent cannot be read: .*intent\.json"
    ) as e:
        close_lost(tmp_path / "runs", tmp_path / "keys")
    assert str(folder.path) in e.value.hint and not folder.result.exists()
    assert other.result.exists()


@pytest.mark.parametrize("name", ["guest.log", "stamps"])
def test_output_that_is_gone_is_named_and_keeps_no_other_run_open(lost, tmp_path, name):
    folder, other = lost(0), lost(1)
    (folder.path / name).unlink()
    with pytest.raises(PrerequisiteError, match=rf"r03-.* lost its kit, and .*/{name}: No such file") as e:
        close_lost(tmp_path / "runs", tmp_path / "keys")
    assert str(folder.path) in e.value.hint and not folder.result.exists()
    assert other.result.exists()


def test_a_reason_of_any_text_can_be_recorded(lost, make):
    folder = lost()
    mark_lost(folder, make.SIGNER, "the kit failed: \x1b[2J\ud800\n" + "x" * 100_000)
    assert len(open_bundle(folder.path, trusted(folder.path)).predicate.run.reason) <= 2000

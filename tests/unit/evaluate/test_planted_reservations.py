"""A planted, changed or copied reservation in a directory of runs gets no signature, and ends no guest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from kit.core import locks, process
from kit.core.digest import canonical_json
from kit.core.errors import DigestMismatch, IntegrityError, PrerequisiteError, SchemaError, SignatureError
from kit.core.lease import Takeover
from kit.evaluate import audits, recovery
from kit.evaluate.recovery import close_lost
from kit.result import statement
from kit.result.appraisal.trust import Tier, assess_tier
from kit.result.keys import Trusted, load, load_or_create, throwaway, trusted
from kit.result.predicate import Verdict
from kit.result.reservation import read_reservation, reserve_run, reserve_series
from kit.result.verify import open_bundle
from kit.sandbox import processes
from kit.sandbox.folder import RunFolder, tidy
from kit.values.run_result import RunStatus

ASSETS = Path(__file__).parents[2] / "assets" / "bundles"


@pytest.fixture
def reaped(monkeypatch):
    """The run ids of the guests that were ended."""
    ended = []
    monkeypatch.setattr(recovery, "reap", lambda runtime, state, run_id: ended.append(run_id) or True)
    return ended


@pytest.fixture
def refused(tmp_path, lost, reaped):
    """See that a folder gets no record and that another one does; return what was said."""

    def look(folder: RunFolder, error=IntegrityError, ended=()) -> str:
        other = lost(99)
        before = {p.name for p in folder.path.iterdir()} - {".alive"}
        with pytest.raises(error, match=f"cannot close run {folder.run_id}: ") as e:
            close_lost(tmp_path / "runs", tmp_path / "keys")
        assert other.result.exists() and reaped == [*ended, other.run_id]
        assert {p.name for p in folder.path.iterdir()} - {".alive"} == before
        assert f"mv {folder.path} " in e.value.hint
        return str(e.value)

    return look


def planted(tmp_path, make, predicate, kind=statement.PREDICATE_TYPE, number=7) -> RunFolder:
    """A folder as an attacker makes it: a statement that nobody signed, and files that fit it."""
    folder = RunFolder(tmp_path / "runs" / f"r03-20260101T000000Z-{number:08x}")
    shutil.copytree(ASSETS / "submission", folder.submission)
    folder.log.write_bytes(b"step:1/1 val_loss:3.0000 train_time:1ms step_avg:1.00ms\n")
    folder.stamps.write_bytes(b"")
    body = json.loads(statement.statement(predicate, make.subjects(folder.path)))
    folder.intent.write_bytes(canonical_json({**body, "predicateType": kind}))
    return folder


def test_a_planted_statement_that_says_completed_is_refused_by_name(tmp_path, make, refused):
    sample = make.predicate(ASSETS)
    folder = planted(tmp_path, make, sample)
    assert refused(folder).endswith("intent.json: the reservation is not signed")


def test_a_planted_statement_of_the_old_form_gives_a_record_without_its_content(tmp_path, make, reaped):
    sample = make.predicate(ASSETS)
    folder = planted(tmp_path, make, sample, statement.PREDICATE_TYPE_V1)
    assert close_lost(tmp_path / "runs", tmp_path / "keys") == [folder]
    found = open_bundle(folder.path, trusted(tmp_path / "keys"))
    p = found.predicate
    assert (p.run.status, p.score.verdict, p.score.ranked) == (RunStatus.LOST, Verdict.FAILED, False)
    assert p.run.reason == "it was interrupted; its reservation is unsigned (version 0.1)"
    assert (p.claims.final_val_loss, p.audit.checks, p.environment.image) == (None, (), None)
    assert (p.run.argv, p.run.env, p.run.nonce) == (("unknown",), (), "00")
    assert assess_tier(p, trusted=True).tier is Tier.SELF_REPORTED
    assert sample.run.nonce not in json.dumps(found.document)


def test_a_planted_folder_does_not_have_others_files_listed_and_signed(tmp_path, make, refused):
    """Who may write in the folder of runs, and not read the files, would learn names, sizes and digests."""
    folder = planted(tmp_path, make, make.predicate(ASSETS), statement.PREDICATE_TYPE_V1)
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "password").write_text("123456")
    shutil.rmtree(folder.submission)
    folder.submission.symlink_to(tmp_path / "private")
    assert "submission is a link" in refused(folder)


@pytest.mark.parametrize("kind", ["signed", "unsigned"])
def test_a_link_in_the_place_of_a_runs_folder_is_refused(tmp_path, make, lost, reaped, kind):
    folder = lost() if kind == "signed" else planted(
        tmp_path, make, make.predicate(ASSETS), statement.PREDICATE_TYPE_V1
    )  # fmt: skip
    elsewhere = RunFolder(folder.path.rename(tmp_path / folder.run_id))
    folder.path.symlink_to(elsewhere.path)
    with pytest.raises(SignatureError, match=f"{folder.run_id} is a link"):
        close_lost(tmp_path / "runs", tmp_path / "keys")
    assert reaped == [] and not elsewhere.result.exists()


@pytest.mark.parametrize("linked", [False, True])
def test_what_a_run_never_made_is_not_removed_with_it(tmp_path, lost, linked):
    """A folder that took the run's place while it was closed may be anybody's home."""
    folder = lost()
    for name in (".ssh", ".scratch"):
        (folder.path / name).mkdir(exist_ok=True)
    for name in (".profile", ".alive.0123456789abcdef", ".result.json.abcd"):
        (folder.path / name).touch()
    folder.result.write_bytes(b"{}")
    if linked:
        real = folder.path.rename(tmp_path / folder.run_id)
        folder.path.symlink_to(real)
    before = {path.name for path in folder.path.iterdir()}
    tidy(tmp_path / "runs")
    kept = {path.name for path in folder.path.iterdir()}
    assert kept == before if linked else {n for n in kept if n.startswith(".")} == {".ssh", ".profile"}


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"predicateType":"urn:speedrun-kit:result:v1"}', "null", '"x"']
)
def test_what_is_no_reservation_is_refused(tmp_path, lost, refused, text):
    folder = lost()
    folder.intent.write_text(text)
    folder.submission.rename(folder.path / "elsewhere")
    assert folder.run_id in refused(folder)


def test_a_reservation_by_another_key_is_refused_even_if_that_key_is_trusted(
    tmp_path, lost, planned, refused
):
    folder, stranger = lost(), throwaway()
    lease = read_reservation(folder.intent, load(tmp_path / "keys").public).body.lease
    folder.intent.write_bytes(reserve_run(*planned(folder.run_id), lease, stranger))
    (tmp_path / "keys" / "friend.pem").write_bytes(stranger.public.pem)
    assert "is signed by key" in refused(folder)


@pytest.mark.parametrize("where", ["payload", "sig"])
def test_a_reservation_that_was_edited_is_refused(lost, refused, make, where):
    folder = lost()
    document = json.loads(folder.intent.read_bytes())
    envelope = document["dsseEnvelope"]
    holder = envelope if where == "payload" else envelope["signatures"][0]
    middle = len(holder[where]) // 2
    other = "B" if holder[where][middle] != "B" else "C"
    holder[where] = holder[where][:middle] + other + holder[where][middle + 1 :]
    folder.intent.write_bytes(canonical_json(document))
    assert "intent.json: " in refused(folder)


def test_another_document_of_the_own_key_is_no_reservation(lost, refused, tmp_path, make):
    folder = lost()
    own = load(tmp_path / "keys")
    folder.intent.write_bytes(make.signed(statement_of(make), own))
    assert "predicateType is" in refused(folder)


def statement_of(make) -> bytes:
    return statement.statement(make.predicate(ASSETS), make.subjects(ASSETS))


def test_the_reservation_of_another_run_is_refused(lost, refused):
    folder, source = lost(0), lost(1)
    shutil.copy(source.intent, folder.intent)
    shutil.rmtree(source.path)
    assert f"is the reservation of another run, {source.run_id}" in refused(folder)


def test_the_reservation_of_a_series_is_none_of_a_run(lost, refused, tmp_path):
    folder = lost()
    own = load(tmp_path / "keys")
    lease = read_reservation(folder.intent, own.public).body.lease
    folder.intent.write_bytes(reserve_series(folder.run_id, b"plan", lease, own))
    assert "belongs to a series, not to a run" in refused(folder)


@pytest.mark.parametrize("names", [None, ("intent.json", "guest.log", "stamps")])
def test_a_copy_of_a_run_is_refused_and_the_run_itself_closed_once(lost, refused, tmp_path, names):
    original = lost(0, out="elsewhere")
    copy = RunFolder(tmp_path / "runs" / original.run_id)
    if names is None:
        shutil.copytree(original.path, copy.path)
    else:
        copy.path.mkdir(parents=True)
        for name in names:
            shutil.copy(original.path / name, copy.path / name)
    assert "is a copy of the run's directory" in refused(copy)
    assert close_lost(tmp_path / "elsewhere", tmp_path / "keys") == [original]
    with pytest.raises(SignatureError, match="is a copy"):
        close_lost(tmp_path / "runs", tmp_path / "keys")


def test_a_run_whose_lock_file_was_replaced_is_refused(lost, refused):
    folder = lost()
    folder.alive.rename(folder.path / "kept")
    folder.alive.touch()
    assert ".alive is missing or was replaced" in refused(folder)


LIVING = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[4:]
from kit.core.lease import Lease
from kit.result.keys import load_or_create
from kit.sandbox.folder import reserve
out, keys, run_id = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
import pickle
planned, submission, files = pickle.load(sys.stdin.buffer)
from kit.result.reservation import reserve_run
sign = lambda lease: reserve_run(planned, submission, lease, load_or_create(keys))
with reserve(out, run_id, sign, files):
    print("reserved", flush=True)
    import time; time.sleep(600)
"""


@pytest.fixture
def living(tmp_path, planned, lost):
    """A run of another process, which goes on."""
    import pickle

    load_or_create(tmp_path / "keys")
    run_id = lost(0, out="unused").run_id
    with subprocess.Popen(
        [sys.executable, "-c", LIVING, str(tmp_path / "live"), str(tmp_path / "keys"), run_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        pickle.dump((*planned(run_id), ASSETS / "submission"), process.stdin)
        process.stdin.close()
        assert process.stdout.readline() == b"reserved\n"
        yield RunFolder(tmp_path / "live" / run_id)
        process.kill()


@pytest.mark.parametrize("how", ["copy", "link", "unsigned", "renamed"])
def test_a_run_that_goes_on_is_neither_ended_nor_recorded_elsewhere(living, tmp_path, reaped, make, how):
    out = tmp_path / "runs"
    copy = RunFolder(out / living.run_id)
    out.mkdir()
    match how:
        case "copy":
            shutil.copytree(living.path, copy.path)
        case "link":
            copy.path.symlink_to(living.path)
        case "renamed":
            living.path.rename(copy.path)
        case "unsigned":
            shutil.copytree(living.path, copy.path)
            copy.intent.write_bytes(canonical_json({"predicateType": statement.PREDICATE_TYPE_V1}))
    if how in ("link", "renamed"):
        assert close_lost(out, tmp_path / "keys") == []
    else:
        with pytest.raises(
            SignatureError, match=r"is a copy of the run's|the run is still going on in another directory"
        ):
            close_lost(out, tmp_path / "keys")
    assert reaped == [] and not copy.result.exists()


def test_a_lock_file_taken_from_a_run_that_goes_on_does_not_open_it(living, tmp_path, reaped):
    living.alive.unlink()
    living.alive.touch()
    with pytest.raises(SignatureError, match="was replaced"):
        close_lost(tmp_path / "live", tmp_path / "keys")
    assert reaped == []


def test_a_run_of_a_killed_process_is_closed(living, tmp_path, reaped):
    pid = locks.noted(living.alive).pid
    processes.kill_all([pid])
    until = time.monotonic() + 60
    while processes.is_alive(pid) and time.monotonic() < until:  # its files are closed one after the other
        time.sleep(0.01)
    assert close_lost(tmp_path / "live", tmp_path / "keys") == [living]
    assert reaped == [living.run_id]


def test_a_run_of_another_machine_is_left_to_it_and_named(lost, tmp_path, reaped, monkeypatch):
    folder = lost()
    monkeypatch.setattr(process, "_host", lambda: "another")
    others = []
    assert close_lost(tmp_path / "runs", tmp_path / "keys", others.append) == []
    assert others == [folder] and reaped == [] and not folder.result.exists()


def test_after_a_reboot_a_run_is_closed(lost, tmp_path, reaped, monkeypatch):
    folder = lost()
    monkeypatch.setattr(process, "_boot", lambda: "the next one")
    assert close_lost(tmp_path / "runs", tmp_path / "keys") == [folder]


def test_only_the_runtime_of_the_signed_reservation_is_asked(lost, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(recovery, "reap", lambda runtime, *rest: asked.append(runtime) or True)
    lost()
    close_lost(tmp_path / "runs", tmp_path / "keys")
    assert asked == ["runc"]


@pytest.mark.parametrize("name", ["guest.log", "stamps"])
@pytest.mark.parametrize("how", ["link", "pipe", "folder"])
def test_output_that_is_no_plain_file_is_not_described(lost, refused, tmp_path, name, how):
    folder = lost()
    secret = tmp_path / "secret"
    secret.write_text("nobody's business")
    (folder.path / name).unlink()
    match how:
        case "link":
            (folder.path / name).symlink_to(secret)
        case "pipe":
            os.mkfifo(folder.path / name)
        case "folder":
            (folder.path / name).mkdir()
    assert name in refused(folder, (IntegrityError, PrerequisiteError), [folder.run_id])


def test_a_submission_that_was_changed_does_not_become_the_one_that_ran(lost, tmp_path, reaped):
    folder = lost()
    script = folder.submission / "train_gpt2.py"
    script.chmod(0o644)
    script.write_text("another")
    close_lost(tmp_path / "runs", tmp_path / "keys")
    with pytest.raises(IntegrityError, match="step 6"):
        open_bundle(folder.path, trusted(tmp_path / "keys"))


def test_an_unsigned_folder_named_without_a_time_is_refused(tmp_path, make, refused):
    folder = planted(tmp_path, make, make.predicate(ASSETS), statement.PREDICATE_TYPE_V1)
    odd = RunFolder(folder.path.rename(folder.path.with_name("r03-20269999T999999Z-00000000")))
    assert "contains no time" in refused(odd)


def test_processes_of_another_user_are_not_ended_for_an_unsigned_folder(tmp_path, make, refused, monkeypatch):
    folder = planted(tmp_path, make, make.predicate(ASSETS), statement.PREDICATE_TYPE_V1)
    monkeypatch.setattr(processes, "marked", lambda run_id: [1] if run_id == folder.run_id else [])
    monkeypatch.setattr(processes, "is_own", lambda pid: False)
    assert "the run is another user's" in refused(folder)


def test_a_planned_result_must_say_lost(make, planned, lost, tmp_path):
    own = load(tmp_path / "keys")
    lease = read_reservation(lost().intent, own.public).body.lease
    completed = make.predicate(ASSETS)
    with pytest.raises(SchemaError, match="must state the status lost, not completed"):
        reserve_run(completed, make.subjects(ASSETS).submission, lease, own)


def test_a_lost_record_holds_what_was_reserved_and_nothing_else(lost, planned, tmp_path, reaped):
    folder = lost()
    predicate, submission = planned(folder.run_id)
    close_lost(tmp_path / "runs", tmp_path / "keys")
    found = open_bundle(folder.path, Trusted((load(tmp_path / "keys").public,)))
    assert found.statement.subjects.submission == submission
    same = replace(found.predicate, run=replace(found.predicate.run, reason=predicate.run.reason))
    assert replace(same, audit=predicate.audit) == predicate
    assert found.predicate.audit.checks == ()


def test_a_submission_that_was_changed_during_the_run_is_not_judged_for_the_one_that_ran(tmp_path, make):
    folder = RunFolder(tmp_path)
    shutil.copytree(ASSETS / "submission", folder.submission)
    ready = SimpleNamespace(files=make.predicate(ASSETS).inputs.submission)
    assert [f.name for f in audits._submission(ready, folder)] == ["train_gpt2.py"]
    (folder.submission / "more.py").write_text("")
    with pytest.raises(DigestMismatch, match="was changed during the run"):
        audits._submission(ready, folder)


def test_the_claims_of_every_kind_have_an_answer():
    assert set(Takeover) - set(recovery.REFUSALS) == {Takeover.MINE, Takeover.RUNNING, Takeover.ELSEWHERE}

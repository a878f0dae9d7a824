"""A good submission is accepted; one bad one for each rule is refused with its reason, all at once."""

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kit.cli import run as speedrun
from kit.core.digest import sha256_bytes
from kit.core.errors import IntegrityError, PrerequisiteError, RunError, SchemaError, UsageError
from kit.leaderboard.submit import entry as entry_module
from kit.leaderboard.submit.check import BoardRule, check
from kit.leaderboard.submit.entry import (
    BoardEntry,
    Retraction,
    inflate,
    open_submitted,
    read_entry,
    write_submission,
)
from kit.result.appraisal.verdict import WARM_IS_UNRANKED, ranking_blockers
from kit.result.predicate import CompileCache
from kit.result.verify import open_bundle
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName


def rules(root, trusted):
    return {(f.rule, f.where.rsplit("/", 1)[-1]) for f in check(root, trusted).findings}


def test_a_good_repository_has_no_finding(submit, trusted):
    places = [submit(n, record=3) for n in (1, 2)] + [submit(3, record=5, next_record=6)]
    checked = check(submit.root, trusted)
    assert checked.findings == () and checked.exit_code == 0
    assert sorted(s.where for s in checked.accepted) == sorted(places)


def test_a_submission_is_small_and_its_place_says_what_it_is(submit):
    place = submit(1)
    assert place.relative_to(submit.root).parts[:3] == ("submissions", "03", "an-agent")
    files = {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}
    assert files == {
        "entry.json", "guest.log.gz", "result.json", "signer.pem", "stamps.gz", "submission/train_gpt2.py",
    }  # fmt: skip
    assert sum(p.stat().st_size for p in place.rglob("*")) < 64_000


@pytest.mark.parametrize("name", [".hidden.py", "__pycache__/train_gpt2.pyc", "old.pyc"])
def test_an_entry_holds_no_file_that_the_result_does_not_bind(submit, trusted, name):
    place = submit(1)
    (place / "submission" / name).parent.mkdir(exist_ok=True)
    (place / "submission" / name).write_text("x")
    checked = check(submit.root, trusted)
    assert checked.exit_code == 4 and checked.accepted == ()
    with pytest.raises(UsageError, match="unexpected file: submission/"):
        open_submitted(place, trusted)


def test_laying_out_twice_gives_the_same_bytes_and_refuses_the_same_place(submit, press, trusted, tmp_path):
    place = submit(1)
    found = open_bundle(tmp_path / "runs" / place.name, trusted)
    write_submission(found, BoardEntry("an-agent"), tmp_path / "again")
    again = tmp_path / "again" / place.relative_to(submit.root)
    for name in ("guest.log.gz", "stamps.gz", "entry.json"):
        assert (again / name).read_bytes() == (place / name).read_bytes()
    with pytest.raises(UsageError, match="exists"):
        write_submission(found, BoardEntry("an-agent"), tmp_path / "again")


def test_a_run_where_no_task_starts_has_no_row_and_is_told_so_unless_it_is_the_records_own(
    submit, trusted, press, monkeypatch
):
    script = b"# record 6\n"
    monkeypatch.setattr("kit.leaderboard.submit.check.own_digest", lambda record: press.tree_of(script))
    submit(1, record=6, next_record=7, script=script)
    submit(2, record=6, next_record=7)
    checked = check(submit.root, trusted)
    (finding,) = checked.findings
    assert finding.message.startswith("record 6 starts no task: ") and finding.rule is BoardRule.UNRANKED
    assert len(checked.accepted) == 1


def test_a_run_of_a_record_that_the_kit_has_not_is_refused_alone(submit, trusted):
    submit(1)
    submit(2, record=99, next_record=100)
    checked = check(submit.root, trusted)
    assert [f.message for f in checked.findings] == ["record 99 is unknown to this version of speedrun"]
    assert len(checked.accepted) == 1 and checked.exit_code == 1


def append(path, data=b"\n"):
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + data)


def regzip(path, change):
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes())), mtime=0))


def set_entry(place, **fields):
    document = json.loads((place / "entry.json").read_bytes())
    (place / "entry.json").write_text(json.dumps(document | fields))


FAULTS = {
    "a file is missing": (lambda p: (p / "stamps.gz").unlink(), BoardRule.MISSING, "stamps.gz is missing"),
    "the bundle is missing": (lambda p: (p / "result.json").unlink(), BoardRule.MISSING, "result.json"),
    "no submission": (lambda p: shutil.rmtree(p / "submission"), BoardRule.MISSING, "submission is missing"),
    "one file more": (
        lambda p: (p / "weights.pt").write_bytes(b"x"), BoardRule.LAYOUT, "unexpected file: weights.pt",
    ),
    "a link": (
        lambda p: ((p / "signer.pem").unlink(), (p / "signer.pem").symlink_to("/etc/passwd")),
        BoardRule.LAYOUT,
        "not a regular file",
    ),
    "an edited bundle": (lambda p: append(p / "result.json"), BoardRule.INVALID, "step 0"),
    "an edited script": (lambda p: append(p / "submission/train_gpt2.py"), BoardRule.INVALID, "step 6"),
    "an edited log": (
        lambda p: regzip(p / "guest.log.gz", lambda d: d.replace(b"3.2790", b"3.1790")),
        BoardRule.INVALID,
        "step 6",
    ),
    "edited stamps": (lambda p: regzip(p / "stamps.gz", lambda d: d[:-9]), BoardRule.INVALID, "step 6"),
    "a log that is not gzip": (
        lambda p: (p / "guest.log.gz").write_bytes(b"plain"), BoardRule.INVALID, "not a valid gzip file",
    ),
    "a log with a tail": (lambda p: append(p / "guest.log.gz", b"tail"), BoardRule.INVALID, "trailing bytes"),
    "a log cut short": (
        lambda p: (p / "stamps.gz").write_bytes((p / "stamps.gz").read_bytes()[:-5]),
        BoardRule.INVALID,
        "truncated",
    ),
    "an unknown field": (lambda p: set_entry(p, tier="reproduced"), BoardRule.INVALID, "tier"),
    "another agent": (
        lambda p: set_entry(p, agent="another-agent"), BoardRule.LAYOUT, "expected path: submissions/",
    ),
    "another task": (
        lambda p: shutil.move(p, p.parents[2] / "05" / "an-agent" / p.name),
        BoardRule.LAYOUT, "expected path: submissions/",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_folder_is_refused_with_its_reason_and_the_others_are_not(submit, trusted, fault):
    (submit.root / "submissions" / "05" / "an-agent").mkdir(parents=True)
    good, bad = submit(1), submit(2)
    change, rule, says = FAULTS[fault]
    change(bad)
    checked = check(submit.root, trusted)
    assert [(f.rule, f.where.rsplit("/", 1)[-1]) for f in checked.findings] == [(rule, bad.name)]
    assert says in checked.findings[0].message and "/tmp/" not in checked.findings[0].message
    assert [s.where for s in checked.accepted] == [good]
    assert checked.exit_code == {BoardRule.MISSING: 3}.get(rule, 4)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"profile": Profile.SMOKE}, "the smoke profile"),
        ({"runtime": RuntimeName.HOST}, "the runtime host provides no isolation"),
        ({"pinned": False}, "data: unpinned"),
    ],
)
def test_a_result_that_cannot_be_ranked_is_refused(submit, trusted, fields, says):
    submit(1, **fields)
    checked = check(submit.root, trusted)
    assert {f.rule for f in checked.findings} == {BoardRule.UNRANKED}
    assert any(says in f.message for f in checked.findings)
    assert checked.exit_code == 1


def test_a_warm_run_is_refused_by_its_field_whatever_reasons_it_lists(submit, press, trusted):
    plain = open_bundle(press.press(submit.root.parent / "plain", press.Sample(1)), trusted).predicate
    warm = replace(plain.run, compile_cache=CompileCache.WARM, compile_cache_sha256=sha256_bytes(b""))
    submit(1, extra=(("run", warm),))
    checked = check(submit.root, trusted)
    assert [(f.rule, f.message) for f in checked.findings] == [(BoardRule.UNRANKED, WARM_IS_UNRANKED)]
    score = replace(plain.score, ranked=False, unranked_because=("data: unpinned",))
    assert ranking_blockers(replace(plain, run=warm, score=score)) == (WARM_IS_UNRANKED,)


def test_a_run_of_a_smoke_task_has_one_finding_and_its_task_is_known(submit, trusted):
    submit(1, task="smoke-3", profile=Profile.SMOKE)
    checked = check(submit.root, trusted)
    assert [f.message for f in checked.findings] == ["the smoke profile is a toy task"]
    assert (checked.entries, checked.accepted) == (1, ())


def test_entries_and_findings_are_counted_apart(submit, press, tmp_path, capsys):
    submit(1)
    submit(2, profile=Profile.SMOKE, pinned=False)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "signer.pem").write_bytes(press.MAKE.SIGNER.public.pem)
    speedrun(["submit", "check", str(submit.root), "--keys", str(tmp_path / "keys")])
    assert "2 entries: 1 accepted, 1 refused; 2 findings (2 unranked)" in capsys.readouterr().err


def test_a_run_that_missed_its_target_is_accepted_because_every_run_counts(submit, trusted):
    place = submit(1, final_loss=3.2801)
    checked = check(submit.root, trusted)
    assert checked.findings == () and [s.where for s in checked.accepted] == [place]


def test_an_untrusted_key_is_refused(submit, trusted, press):
    bad = submit(1, signer=press.MAKE.STRANGER)
    assert rules(submit.root, trusted) == {(BoardRule.UNTRUSTED, bad.name)}
    assert check(submit.root, trusted).exit_code == 1


@pytest.mark.parametrize(
    ("number", "fields"), [(2, {}), (9, {"nonce": f"{2:032x}"}), (9, {"log": "one output"})]
)
def test_a_copy_signed_by_an_untrusted_key_does_not_displace_a_run(
    submit, trusted, press, tmp_path, number, fields
):
    """The attacker's directory sorts first, and has the run's id, its nonce or its output."""
    copied = submit(number, agent="a", signer=press.MAKE.STRANGER, **fields)
    shutil.rmtree(tmp_path / "runs")
    good = submit(2, agent="b", **({} if "nonce" in fields else fields))
    checked = check(submit.root, trusted)
    assert [s.where for s in checked.accepted] == [good]
    assert {f.where for f in checked.findings} == {copied.relative_to(submit.root).as_posix()}
    assert len(checked.findings) == 2, "that it is a copy is said, too"


def test_a_run_signed_again_under_another_id_is_a_replay(submit, trusted):
    places = [submit(1, log="one output"), submit(2, log="one output"), submit(3, nonce=f"{1:032x}")]
    assert rules(submit.root, trusted) == {(BoardRule.REPLAY, place.name) for place in places}


def test_every_fault_of_a_repository_is_found_at_once(submit, trusted, press):
    submit(1)
    (submit(2) / "stamps.gz").unlink()
    append(submit(3) / "result.json")
    submit(4, profile=Profile.SMOKE)
    submit(5, signer=press.MAKE.STRANGER)
    (submit.root / "submissions" / "stray.txt").write_text("x")
    checked = check(submit.root, trusted)
    assert {f.rule for f in checked.findings} == {
        BoardRule.MISSING, BoardRule.INVALID, BoardRule.UNRANKED, BoardRule.UNTRUSTED, BoardRule.LAYOUT,
    }  # fmt: skip
    assert checked.exit_code == 4


def test_links_in_place_of_folders_are_not_followed(submit, trusted, tmp_path):
    place = submit(1)
    (submit.root / "submissions" / "03" / "linked").symlink_to(place.parent)
    checked = check(submit.root, trusted)
    assert [f.rule for f in checked.findings] == [BoardRule.LAYOUT]
    assert len(checked.accepted) == 1


def test_a_repository_without_submissions_is_said_to_be_none(tmp_path, trusted):
    with pytest.raises(PrerequisiteError, match="submissions/"):
        check(tmp_path, trusted)


def test_a_bomb_is_not_inflated(tmp_path, monkeypatch):
    monkeypatch.setattr(entry_module, "MAX_PLAIN", 1000)
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes(1_000_000)))
    with pytest.raises(IntegrityError, match="to more than 1000 bytes"):
        inflate(tmp_path / "x.gz")


def test_a_retraction_is_kept_with_its_reason(submit, trusted):
    place = submit(
        1, entry=BoardEntry("an-agent", retracted=Retraction("2026-02-01", "it read the val shard"))
    )
    assert open_submitted(place, trusted).entry.retracted == Retraction("2026-02-01", "it read the val shard")
    assert check(submit.root, trusted).findings == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"capsule": "http://plain.example/x"},
        {"capsule": "javascript:alert(1)"},
        {"model": "line\nbreak"},
        {"hints": (4,)},
        {"note": "x" * 501},
        {"retracted": Retraction("yesterday", "x")},
    ],
)
def test_an_entry_of_another_form_is_never_written(fields):
    with pytest.raises(SchemaError):
        BoardEntry("an-agent", **fields).to_json()


def test_an_entry_comes_back_as_it_was(tmp_path):
    entry = BoardEntry(
        "a", "a model", (1, 3), "a note", "https://example.org/x.tar", Retraction("2026-01-01", "why")
    )
    (tmp_path / "entry.json").write_bytes(entry.to_json())
    assert read_entry(tmp_path / "entry.json") == entry


@pytest.mark.parametrize("agent", ["", "Agent", "a/b", "..", "-a", "a" * 65, "a\n"])
def test_a_name_that_is_no_folder_is_refused(submit, agent, trusted):
    with pytest.raises((UsageError, SchemaError)):
        submit(1, agent=agent)


def test_the_command_submits_and_checks(tmp_path, press, capsys):
    run = press.press(tmp_path / "runs", press.Sample(1))
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "signer.pem").write_bytes(press.MAKE.SIGNER.public.pem)
    board = ["--keys", str(keys)]
    target = str(tmp_path / "board")
    assert speedrun(["submit", str(run), "--agent", "a", "--hints", "3,1", "--to", target, *board]) == 0
    (place,) = capsys.readouterr().out.split()
    assert "submissions/03/a/" in place
    assert json.loads((Path(place) / "entry.json").read_bytes())["hints"] == [1, 3]
    assert speedrun(["submit", "check", target, "--json", *board]) == 0
    assert len(json.loads(capsys.readouterr().out)["accepted"]) == 1
    assert speedrun(["submit", str(run), "--agent", "a", "--to", target, *board]) == 2
    assert speedrun(["submit", str(run), "--agent", "b", "--hints", "0,1", "--to", target, *board]) == 2
    assert "--hints '0,1': 0 (no hints) cannot be combined" in capsys.readouterr().err
    assert speedrun(["submit", "check", target, "--keys", str(tmp_path / "none")]) == 1
    assert "untrusted key" in capsys.readouterr().out


def test_an_output_that_does_not_pack_well_is_too_large_and_leaves_nothing(submit, press, trusted, tmp_path):
    made = press.press(tmp_path / "runs", press.Sample(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry_module, "MAX_GZIP", 50)
        with pytest.raises(UsageError, match=r"guest\.log\.gz has \d+ bytes; the limit for entries is 50"):
            write_submission(open_bundle(made, trusted), BoardEntry("an-agent"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["guest.log", "stamps"])
def test_an_output_that_is_too_long_is_too_large_and_leaves_nothing(press, trusted, tmp_path, name):
    found = open_bundle(press.press(tmp_path / "runs", press.Sample(1)), trusted)
    size = (found.path.parent / name).stat().st_size
    (other,) = {"guest.log", "stamps"} - {name}
    (found.path.parent / other).write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry_module, "MAX_PLAIN", size - 1)
        with pytest.raises(UsageError, match=f"{name} is larger than {size - 1} bytes"):
            write_submission(found, BoardEntry("an-agent"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("level", ["submissions", "submissions/03", "submissions/03/an-agent"])
def test_nothing_is_written_through_a_link_of_a_repository(press, trusted, tmp_path, level):
    found = open_bundle(press.press(tmp_path / "runs", press.Sample(1)), trusted)
    link, elsewhere = tmp_path / "board" / level, tmp_path / "elsewhere"
    elsewhere.mkdir()
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(UsageError, match=f"{level} is a symbolic link"):
        write_submission(found, BoardEntry("an-agent"), tmp_path / "board")
    assert not list(elsewhere.iterdir())


def test_a_run_without_its_signers_key_says_how_to_put_it_there(press, trusted, tmp_path):
    found = open_bundle(press.press(tmp_path / "runs", press.Sample(1)), trusted)
    key = found.path.with_name("signer.pem")
    key.unlink()
    with pytest.raises(PrerequisiteError, match=r"signer\.pem is missing") as refused:
        write_submission(found, BoardEntry("an-agent"), tmp_path / "out")
    assert refused.value.hint.endswith(f"speedrun keys show > {key}")
    assert not (tmp_path / "out").exists()


def test_a_repository_of_more_folders_than_are_looked_at_is_refused_as_a_whole(submit, trusted, monkeypatch):
    for n in range(3):
        submit(n)
    monkeypatch.setattr("kit.leaderboard.submit.layout.MAX_RESULTS", 2)
    with pytest.raises(PrerequisiteError, match="board has more than 2 directories"):
        check(submit.root, trusted)


def test_a_disk_that_fills_up_leaves_no_half_of_a_submission(press, trusted, tmp_path, monkeypatch):
    found = open_bundle(press.press(tmp_path / "runs", press.Sample(1)), trusted)
    real = Path.write_bytes

    def full(path, data):
        if path.name == "stamps.gz":
            raise OSError(28, "No space left on device", str(path))
        return real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(RunError, match="no space left on the disk of"):
            write_submission(found, BoardEntry("an-agent"), tmp_path / "out")
    assert write_submission(found, BoardEntry("an-agent"), tmp_path / "out"), "it has not been submitted yet"


def test_a_file_in_the_place_of_the_repository_is_named(press, trusted, tmp_path):
    found = open_bundle(press.press(tmp_path / "runs", press.Sample(1)), trusted)
    (tmp_path / "out").touch()
    with pytest.raises(PrerequisiteError, match=r"cannot write .*/out/submissions/.*: Not a directory") as e:
        write_submission(found, BoardEntry("an-agent"), tmp_path / "out")
    assert "--to" in e.value.hint

"""A series is submitted whole: whoever picks its best runs is refused, whatever he does with the others."""

import json
import shutil
from dataclasses import replace

import pytest

from kit.cli import run as speedrun
from kit.core.digest import canonical_json, sha256_file
from kit.core.errors import DigestMismatch, PrerequisiteError, UsageError
from kit.leaderboard.submit.check import check
from kit.leaderboard.submit.entry import BoardEntry, write_submission
from kit.leaderboard.submit.finding import BoardRule as Breach
from kit.leaderboard.submit.series import verify_whole_series, write_series_submission
from kit.result.keys import Trusted
from kit.result.predicate import CompileCache, Series
from kit.result.verify import open_bundle
from kit.series.documents import run_mismatches
from kit.series.record import Arm, SeriesPlan, Slot, StopRule, close, new_series_id, read, reserved_series
from kit.values.profile import Profile

SCRIPTS = {arm: f"# {arm}\n".encode() for arm in Arm}
INTERLEAVED = (Arm.START, Arm.TARGET, Arm.CANDIDATE) * 2


@pytest.fixture(autouse=True)
def own_scripts(monkeypatch, press):
    """Let the arms' scripts be those of records 3 and 4; the true ones are upstream's and not here."""
    of = {3: SCRIPTS[Arm.START], 4: SCRIPTS[Arm.TARGET]}
    monkeypatch.setattr("kit.series.documents.own_digest", lambda record: press.tree_of(of[record.number]))


@pytest.fixture
def ran(tmp_path, press):
    """Print a series into `runs` and return its folder."""

    def run(
        arms=(Arm.CANDIDATE,) * 3, first=0, started=None, end=True, signer=None, start=3, task=None, **fields
    ):  # fmt: skip
        signer = signer or press.MAKE.SIGNER
        numbers = range(first, first + len(arms))
        slots = tuple(
            Slot(f"r{4 if a is Arm.TARGET else 3:02d}-20260101T000000Z-{n:08x}", f"{n:032x}", a,
                 press.tree_of(SCRIPTS[a]))
            for n, a in zip(numbers, arms, strict=True)
        )  # fmt: skip
        plan = SeriesPlan(
            new_series_id(start),
            "2026-01-01T00:00:00.000+00:00",
            start,
            Profile.SMOKE if task else Profile.FULL,
            StopRule.ALL_RUNS,
            slots,
            task,
        )
        with reserved_series(tmp_path / "runs", plan, signer) as (where, digest):
            for n, slot in list(zip(numbers, slots, strict=True))[:started]:
                record = {"record": 4, "next_record": 5} if slot.arm is Arm.TARGET else {}
                if task:
                    record = {"task": task, "profile": Profile.SMOKE}
                extra = (("series", Series(plan.id, digest)),)
                sample = press.Sample(n, script=SCRIPTS[slot.arm], extra=extra, **{**record, **fields})
                press.press(tmp_path / "runs", sample, signer)
            if end:
                close(where, plan, signer, "all runs finished")
        return where

    return run


@pytest.fixture
def board(tmp_path, ran, trusted):
    """Submit a series and return the repository and the folders of its runs, sorted, and its own."""
    root = tmp_path / "board"

    def make(entry=None, **fields):
        where = ran(**fields)
        papers, runs = verify_whole_series(where, trusted)
        files = write_series_submission(where, papers, runs, entry or BoardEntry("an-agent"), root)
        places = sorted({(root / f).parent for f in files if f.endswith(("result.json", "plan.json"))})
        own = next(p for p in places if (p / "plan.json").exists())
        return root, [p for p in places if p != own], own

    return make


def of_series(checked):
    return {f.where.rsplit("/", 1)[-1]: f.message for f in checked.findings if f.rule is Breach.SERIES}


def test_a_whole_series_is_accepted_with_all_its_arms(board, trusted):
    root, runs, own = board(arms=INTERLEAVED)
    checked = check(root, trusted)
    assert checked.findings == () and checked.exit_code == 0
    assert [s.where for s in checked.series] == [own]
    assert sorted(s.where for s in checked.accepted) == runs and len(runs) == 6
    assert {p.parts[-3] for p in runs} == {"03", "04"} and own.parts[-3] == "03"


def test_one_run_that_is_left_out_keeps_all_others_out(board, trusted):
    root, runs, own = board()
    shutil.rmtree(runs[1])
    checked = check(root, trusted)
    assert checked.accepted == () and checked.series == () and checked.exit_code == 1
    assert f"run {runs[1].name} is missing or invalid" in of_series(checked)[own.name]
    assert {runs[0].name, runs[2].name} < set(of_series(checked))


def test_a_run_that_was_made_again_is_not_submitted_in_the_place_of_the_first(ran, press, trusted, tmp_path):
    where = ran()
    first = min(p for p in where.parent.iterdir() if p.name.startswith("r03-"))
    series = open_bundle(first, trusted).predicate.series
    shutil.rmtree(first)
    sample = press.Sample(0, script=SCRIPTS[Arm.CANDIDATE], final_loss=3.1, extra=(("series", series),))
    assert press.press(where.parent, sample) == first
    with pytest.raises(
        DigestMismatch, match=rf"{first.name}/result.json does not match its digest in series\.json"
    ):
        verify_whole_series(where, trusted)


def test_a_slow_baseline_cannot_be_left_out_either(board, trusted):
    root, runs, own = board(arms=INTERLEAVED)
    start = next(p for p in runs if (p / "submission" / "train_gpt2.py").read_bytes() == SCRIPTS[Arm.START])
    shutil.rmtree(start)
    checked = check(root, trusted)
    assert checked.accepted == () and start.name in of_series(checked)[own.name]


def test_a_slower_script_in_place_of_the_start_records_is_refused(board, trusted, monkeypatch, press):
    root, runs, own = board(arms=INTERLEAVED)
    monkeypatch.setattr("kit.series.documents.own_digest", lambda record: press.tree_of(b"# upstream's"))
    checked = check(root, trusted)
    assert {f.rule for f in checked.findings if f.where.endswith(own.name)} == {Breach.INVALID}
    assert checked.accepted == () and len(of_series(checked)) == len(runs)


def test_a_plan_for_a_record_that_is_not_there_is_refused_alone(board, trusted):
    root, _, good = board()
    _, _, bad = board(arms=INTERLEAVED, started=0, end=False, start=99)
    checked = check(root, trusted)
    assert [f.rule for f in checked.findings] == [Breach.INVALID]
    assert "record 99 not found" in checked.findings[0].message and bad.name in checked.findings[0].where
    assert [s.where for s in checked.series] == [good]


def test_runs_without_the_documents_of_their_series_are_refused(board, trusted):
    root, runs, own = board()
    shutil.rmtree(own)
    found = of_series(check(root, trusted))
    assert set(found) == {p.name for p in runs}
    assert all("submit the whole series" in why for why in found.values())


def test_a_bad_run_that_is_made_invalid_takes_the_others_with_it(board, trusted):
    root, runs, _ = board()
    (runs[2] / "stamps.gz").write_bytes(b"oops")
    checked = check(root, trusted)
    assert checked.accepted == () and checked.exit_code == 4
    assert {p.name for p in runs[:2]} < set(of_series(checked))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model": "another"}, "model or hints"),
        ({"hints": [1]}, "model or hints"),
        ({"retracted": {"on": "2026-02-01", "reason": "slow"}}, "retract the whole series"),
    ],
)
def test_a_bad_run_cannot_be_listed_under_another_name_or_retracted_alone(board, trusted, fields, says):
    root, runs, _ = board()
    document = json.loads((runs[0] / "entry.json").read_bytes())
    (runs[0] / "entry.json").write_text(json.dumps(document | fields))
    checked = check(root, trusted)
    assert says in of_series(checked)[runs[0].name]
    assert checked.accepted == () and len(of_series(checked)) == 4


def test_a_bad_run_cannot_be_given_to_another_agent(board, trusted):
    root, runs, _ = board()
    moved = root / "submissions" / "03" / "scapegoat" / runs[0].name
    shutil.move(runs[0], moved)
    document = json.loads((moved / "entry.json").read_bytes())
    (moved / "entry.json").write_text(json.dumps(document | {"agent": "scapegoat"}))
    checked = check(root, trusted)
    assert checked.accepted == () and "under agent an-agent" in of_series(checked)[moved.name]


@pytest.mark.parametrize("level", ["submissions", "submissions/04", "submissions/03/an-agent/{}"])
def test_a_series_is_not_written_through_a_link_of_a_repository(ran, trusted, tmp_path, level):
    where = ran(arms=INTERLEAVED)
    link, elsewhere = tmp_path / "board" / level.format(where.name), tmp_path / "elsewhere"
    elsewhere.mkdir()
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(UsageError, match="is a symbolic link"):
        write_series_submission(
            where, *verify_whole_series(where, trusted), BoardEntry("an-agent"), tmp_path / "board"
        )
    assert not list(elsewhere.iterdir())


def test_a_whole_series_can_be_retracted(board, trusted):
    from kit.leaderboard.submit.entry import Retraction

    root, _, _ = board(entry=BoardEntry("an-agent", retracted=Retraction("2026-02-01", "a bug")))
    assert check(root, trusted).findings == ()


def test_a_run_of_another_signers_plan_does_not_fit_into_a_series(board, ran, trusted, press, tmp_path):
    """A better run for a reserved place: same id and nonce, but not the bytes that the record binds."""
    root, runs, _own = board()
    body = press.MAKE.payload_of((runs[0] / "result.json").read_bytes())["predicate"]["series"]
    shutil.rmtree(runs[0])
    extra = (("series", Series(body["id"], body["plan_sha256"])),)
    sample = press.Sample(0, script=SCRIPTS[Arm.CANDIDATE], final_loss=3.2, extra=extra)
    better = press.press(tmp_path / "better", sample)
    write_submission(open_bundle(better, trusted), BoardEntry("an-agent"), root)
    checked = check(root, trusted)
    assert checked.accepted == ()
    assert "does not match its digest in series.json" in of_series(checked)[runs[0].name]


@pytest.fixture
def two_keys(press):
    """Trust in the TEST-ONLY signer and in another one."""
    other = press.MAKE.test_only_key("other")
    return other, Trusted((press.MAKE.SIGNER.public, other.public))


def test_only_the_signer_of_a_plan_can_end_its_series(ran, two_keys, press):
    """He takes a plan that was published and signs that its runs never started, or were others."""
    other, both = two_keys
    where = ran(started=0, end=False)
    plan = read(where / "plan.json", both).body.plan
    close(where, plan, other, "they were too slow")
    (where / "signer.pem").write_bytes(press.MAKE.SIGNER.public.pem)
    with pytest.raises(DigestMismatch, match=r"series.json is signed by [0-9a-f]{64}, plan.json by"):
        verify_whole_series(where, both)


def test_a_run_of_a_series_is_signed_by_the_key_of_its_series(ran, two_keys, press, tmp_path):
    other, both = two_keys
    where = ran()
    papers, (run, *_) = verify_whole_series(where, both)
    named = run.predicate.series
    shutil.rmtree(run.path.parent)
    extra = (("series", Series(named.id, named.plan_sha256)),)
    sample = press.Sample(0, script=SCRIPTS[Arm.CANDIDATE], extra=extra)
    forged = press.press(tmp_path / "runs", sample, other)
    digest = sha256_file(forged / "result.json")
    papers = replace(papers, bundles={**papers.bundles, run.predicate.run.id: digest})
    (why,) = run_mismatches(papers, open_bundle(forged, both), digest)
    assert why.startswith(f"is signed by {other.key_id}")


def test_a_run_of_a_series_starts_with_cold_caches(ran, trusted, press, tmp_path):
    papers, (run, *_) = verify_whole_series(ran(), trusted)
    named, cold = run.predicate.series, run.predicate.run
    shutil.rmtree(run.path.parent)
    warm = replace(cold, compile_cache=CompileCache.WARM, compile_cache_sha256="0" * 64)
    extra = (("series", Series(named.id, named.plan_sha256)), ("run", warm))
    forged = press.press(tmp_path / "runs", press.Sample(0, script=SCRIPTS[Arm.CANDIDATE], extra=extra))
    digest = sha256_file(forged / "result.json")
    papers = replace(papers, bundles={**papers.bundles, cold.id: digest})
    (why,) = run_mismatches(papers, open_bundle(forged, trusted), digest)
    assert why.startswith("started with a warm compile cache")


def test_a_record_is_not_the_plan_of_a_series_that_goes_on(ran, trusted):
    where = ran()
    (where / "series.json").rename(where / "plan.json")
    with pytest.raises(DigestMismatch, match="is a record, and not a plan"):
        verify_whole_series(where, trusted)


def test_documents_that_were_edited_are_refused_with_all_their_runs(board, trusted):
    root, runs, own = board()
    data = (own / "series.json").read_bytes()
    (own / "series.json").write_bytes(data.replace(b'"sig":"M', b'"sig":"N', 1))
    checked = check(root, trusted)
    assert {f.rule for f in checked.findings if f.where.endswith(own.name)} == {Breach.INVALID}
    assert set(of_series(checked)) == {p.name for p in runs} and checked.exit_code == 4


def test_a_record_of_another_series_is_refused(board, ran, trusted):
    root, _, own = board()
    other = ran(first=20)
    shutil.copyfile(other / "series.json", own / "series.json")
    (finding,) = (f for f in check(root, trusted).findings if f.where.endswith(own.name))
    assert finding.rule is Breach.INVALID and "does not match plan.json" in finding.message


def test_a_series_of_an_untrusted_key_keeps_its_runs_out(board, press):
    root, _runs, own = board()
    checked = check(root, Trusted((press.MAKE.STRANGER.public,)))
    assert {f.rule for f in checked.findings if f.where.endswith(own.name)} == {Breach.UNTRUSTED}
    assert checked.accepted == () and checked.exit_code == 1


def test_the_plan_of_a_series_that_goes_on_is_accepted_and_its_runs_are_not_yet(board, ran, trusted):
    root, _, own = board(end=False, started=2)
    checked = check(root, trusted)
    assert checked.findings == () and [s.where for s in checked.series] == [own]
    assert checked.series[0].documents.ended is None
    run = own.parents[4] / "runs" / "r03-20260101T000000Z-00000000"
    write_submission(open_bundle(run, trusted), BoardEntry("an-agent"), root)
    assert "has not ended" in of_series(check(root, trusted))[run.name]


def test_a_plan_that_was_submitted_first_is_completed_later(tmp_path, ran, press, trusted):
    where = ran(started=0, end=False)
    root, entry = tmp_path / "board", BoardEntry("an-agent")
    write_series_submission(where, *verify_whole_series(where, trusted), entry, root)
    assert check(root, trusted).findings == ()
    from kit.series.recovery import close_abandoned

    close_abandoned(tmp_path / "runs", press.MAKE.SIGNER)
    files = write_series_submission(where, *verify_whole_series(where, trusted), entry, root)
    assert any(f.endswith("series.json") for f in files)
    (series,) = check(root, trusted).series
    assert len(series.documents.ended.not_started) == 3


def listed_again(place, root, agent):
    """Copy entries to another agent's name, as whoever has only these files can."""
    to = root / place.relative_to(root).parts[0] / place.parts[-3] / agent / place.name
    shutil.copytree(place, to)
    document = json.loads((to / "entry.json").read_bytes())
    (to / "entry.json").write_text(json.dumps(document | {"agent": agent}))
    return to


def other_envelope(place):
    plan = json.loads((place / "plan.json").read_bytes())
    del plan["verificationMaterial"]["tlogEntries"], plan["dsseEnvelope"]["signatures"][0]["keyid"]
    (place / "plan.json").write_bytes(canonical_json(plan))


@pytest.mark.parametrize("change", [lambda place: None, other_envelope])
def test_the_same_series_twice_is_a_duplicate(board, trusted, tmp_path, change):
    """One signature fits into the envelopes of both versions; the file has another digest then."""
    root, _, own = board(end=False, started=0)
    shutil.copytree(root, tmp_path / "base")
    copied = listed_again(own, root, "a")
    change(copied)
    checked = check(root, trusted)
    assert [f.rule for f in checked.findings] == [Breach.DUPLICATE] * 2 and checked.series == ()
    assert all("nothing shows which one is the copy" in f.message for f in checked.findings)
    checked = check(root, trusted, base=tmp_path / "base")
    assert [s.where for s in checked.series] == [own]
    assert [f.where for f in checked.findings] == [copied.relative_to(root).as_posix()]
    shutil.rmtree(own)
    (finding,) = check(root, trusted, base=tmp_path / "base").findings
    assert finding.message.endswith(f"{own.name} of the base, which was there before")


def test_a_copy_of_a_whole_series_is_refused_and_the_original_stays(board, trusted, tmp_path):
    root, runs, own = board()
    shutil.copytree(root, tmp_path / "base")
    copies = {listed_again(p, root, "a").relative_to(root).as_posix() for p in (*runs, own)}
    checked = check(root, trusted, base=tmp_path / "base")
    assert {f.where for f in checked.findings} == copies
    assert [s.where for s in checked.series] == [own]
    assert sorted(s.where for s in checked.accepted) == runs


def test_a_copy_of_one_run_takes_no_series_away(board, trusted, tmp_path):
    root, runs, own = board()
    shutil.copytree(root, tmp_path / "base")
    copied = listed_again(runs[0], root, "a")
    checked = check(root, trusted, base=tmp_path / "base")
    assert [s.where for s in checked.series] == [own]
    assert {f.where for f in checked.findings} == {copied.relative_to(root).as_posix()}
    shutil.rmtree(copied)
    shutil.copytree(runs[0], copied)  # says in its entry.json that it is of the series' agent
    checked = check(root, trusted, base=tmp_path / "base")
    assert [s.where for s in checked.series] == [own]
    assert {f.where for f in checked.findings} == {copied.relative_to(root).as_posix()}


def test_a_strangers_run_that_names_a_series_takes_no_series_away(board, trusted, press, tmp_path):
    root, runs, own = board()
    named = open_bundle_of(runs[0], press)
    sample = press.Sample(9, script=SCRIPTS[Arm.CANDIDATE], extra=(("series", Series(**named)),))
    foreign = press.press(tmp_path / "foreign", sample, press.MAKE.STRANGER)
    write_submission(open_bundle(foreign, trusted), BoardEntry("an-agent"), root)
    checked = check(root, trusted)
    assert [s.where for s in checked.series] == [own]
    assert {f.where.rsplit("/", 1)[-1] for f in checked.findings} == {foreign.name}
    assert "and its series by" in of_series(checked)[foreign.name]


def open_bundle_of(place, press):
    return press.MAKE.payload_of((place / "result.json").read_bytes())["predicate"]["series"]


def test_a_faulty_copy_of_a_series_takes_no_series_place(board, trusted):
    """It comes first by path; what is wrong with it is that its place is another."""
    root, _, own = board(end=False, started=0)
    copied = root / "submissions" / "01" / "a" / own.name
    shutil.copytree(own, copied)
    checked = check(root, trusted)
    assert [s.where for s in checked.series] == [own]
    assert {f.where for f in checked.findings} == {copied.relative_to(root).as_posix()}


def test_files_that_have_no_place_in_a_series_are_named(board, trusted):
    root, _, own = board(end=False, started=0)
    (own / "notes.txt").write_text("x")
    (own / "signer.pem").unlink()
    found = {(f.rule, f.message) for f in check(root, trusted).findings}
    assert found == {
        (Breach.LAYOUT, "unexpected file: notes.txt"), (Breach.MISSING, "signer.pem is missing"),
    }  # fmt: skip


def test_the_command_submits_a_series_whole_and_not_one_run_of_it(ran, press, tmp_path, capsys):
    where = ran(arms=INTERLEAVED)
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "signer.pem").write_bytes(press.MAKE.SIGNER.public.pem)
    target, trust = str(tmp_path / "board"), ["--keys", str(keys)]
    run = next(p for p in where.parent.iterdir() if p.name.startswith("r03"))
    assert speedrun(["submit", str(run), "--agent", "a", "--to", target, *trust]) == 2
    assert f"submit the whole series: repeat the command with {where} in place of" in capsys.readouterr().err
    assert speedrun(["submit", str(where), "--agent", "a", "--to", target, *trust]) == 0
    assert capsys.readouterr().out.strip().endswith(f"submissions/03/a/{where.name}")
    assert speedrun(["submit", "check", target, "--json", *trust]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["accepted"]) == 6 and len(shown["series"]) == 1
    assert speedrun(["submit", str(where), "--agent", "a", "--to", target, *trust]) == 2


def test_a_series_without_its_signers_key_is_not_laid_out(ran, trusted, tmp_path):
    where = ran()
    papers, runs = verify_whole_series(where, trusted)
    (where / "signer.pem").unlink()
    with pytest.raises(PrerequisiteError, match=r"signer\.pem is missing"):
        write_series_submission(where, papers, runs, BoardEntry("an-agent"), tmp_path / "board")


def test_a_file_in_the_place_of_the_repository_is_named(ran, trusted, tmp_path):
    where = ran()
    (tmp_path / "file").touch()
    papers, runs = verify_whole_series(where, trusted)
    with pytest.raises(PrerequisiteError, match=r"cannot write .*/file: not a directory") as e:
        write_series_submission(where, papers, runs, BoardEntry("an-agent"), tmp_path / "file")
    assert "--to" in e.value.hint


def test_a_series_of_a_smoke_task_is_submitted_under_the_tasks_name(ran, press, tmp_path, capsys):
    where = ran(task="smoke-3", start=0)
    keys, root = tmp_path / "keys", tmp_path / "board"
    keys.mkdir()
    (keys / "signer.pem").write_bytes(press.MAKE.SIGNER.public.pem)
    send = ["submit", str(where), "--agent", "an-agent", "--to", str(root), "--keys", str(keys)]
    assert speedrun(send) == 0
    place = root / "submissions" / "smoke-3" / "an-agent" / where.name
    assert capsys.readouterr().out.strip() == str(place) and (place / "plan.json").is_file()
    assert speedrun(["submit", "check", str(root), "--keys", str(keys)]) == 1
    out, err = capsys.readouterr()
    assert "unknown" not in out and out.count("the smoke profile is a toy task") == 4
    assert "4 entries: 0 accepted, 4 refused; 4 findings (4 unranked)" in err


def test_the_plan_of_a_smoke_series_that_goes_on_is_not_accepted_either(board, trusted):
    root, _, own = board(task="smoke-3", start=0, end=False)
    (finding,) = check(root, trusted).findings
    assert (finding.rule, finding.where) == (Breach.UNRANKED, own.relative_to(root).as_posix())

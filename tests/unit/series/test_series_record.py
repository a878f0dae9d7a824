"""A series is signed before it starts, accounts for every run, and is judged by the bundles alone."""

import json
import os
import shutil
from dataclasses import replace

import pytest

pytest.importorskip("scipy")

from kit.agent import series_score as series_scores
from kit.agent.node import EvaluationStatus
from kit.agent.outcome import ReferenceTimes
from kit.agent.series_score import reference_score, retimed_score, series_score
from kit.audit.baseline import UNTIMED_OVERHEAD
from kit.benchmark.records import load, own_digest
from kit.cli import run as speedrun
from kit.core.digest import canonical_json
from kit.core.errors import DigestMismatch, IntegrityError, KitError, PrerequisiteError, SignatureError
from kit.core.facts import facts_root
from kit.result.keys import Trusted
from kit.result.predicate import Audit, AuditCheck, Outcome, Series, Severity
from kit.score.metrics import fieller, mean_below
from kit.series.documents import mismatched_scripts
from kit.series.figures import open_series
from kit.series.record import Arm, SeriesPlan, Slot, StopRule, close, new_series_id, read, reserved_series
from kit.series.recovery import ClosedSeries, close_abandoned
from kit.series.run import SeriesRequest, order
from kit.values.profile import Profile

SCRIPTS = {arm: f"# {arm}\n".encode() for arm in Arm}
ON_TIME = dict.fromkeys(Arm, 0.0)
TIMES = {Arm.START: (9000, 9040, 8990), Arm.TARGET: (5000, 5030, 4990), Arm.CANDIDATE: (7000, 7010, 6960)}


@pytest.fixture(autouse=True)
def own_scripts(monkeypatch, press):
    """Let the arms' scripts be those of records 3 and 4; the true ones are upstream's and not here."""
    of = {3: SCRIPTS[Arm.START], 4: SCRIPTS[Arm.TARGET]}
    monkeypatch.setattr("kit.series.documents.own_digest", lambda record: press.tree_of(of[record.number]))


def opened_series(where, trusted):
    return open_series(where, trusted, facts_root() / "records")


@pytest.fixture
def trusted(press):
    return Trusted((press.MAKE.SIGNER.public,))


@pytest.fixture
def series(tmp_path, press):
    """Make a series of runs that the press prints, and return its folder."""

    def make(
        runs=3, interleave=True, times=TIMES, started=None, losses=None, rule=StopRule.ALL_RUNS, end=True,
        late=ON_TIME, checks=(),
    ):  # fmt: skip
        arms = order(SeriesRequest(runs, interleave))
        started = len(arms) if started is None else started
        slots = tuple(
            Slot(f"r03-20260101T000000Z-{n:08x}", f"{n:032x}", arm, press.tree_of(SCRIPTS[arm]))
            for n, arm in enumerate(arms)
        )
        plan = SeriesPlan(new_series_id(3), "2026-01-01T00:00:00.000+00:00", 3, Profile.FULL, rule, slots)
        seen = dict.fromkeys(Arm, 0)
        with reserved_series(tmp_path, plan, press.MAKE.SIGNER) as (where, digest):
            for n, arm in enumerate(arms[:started]):
                at, seen[arm] = seen[arm], seen[arm] + 1
                loss = losses[at] if losses and arm is Arm.CANDIDATE else 3.2790
                extra = {"series": Series(plan.id, digest)}
                if checks and arm is Arm.CANDIDATE:
                    extra["audit"] = Audit(checks, 2)
                press.press(
                    tmp_path,
                    press.Sample(
                        n, script=SCRIPTS[arm], time_ms=times[arm][at % 3], final_loss=loss, late_s=late[arm],
                        extra=tuple(extra.items()),
                    ),
                )  # fmt: skip
            if end:
                close(where, plan, press.MAKE.SIGNER, "all runs finished")
        return where

    return make


def test_the_score_of_a_winner_is_that_of_its_series(series, trusted):
    found = opened_series(series(losses=(3.2790, 3.2781, 3.2815)), trusted)
    score = series_score(found)
    assert (score.ratio, score.refused) == (found.ratio, ""), "one run missed; the mean did not"
    assert score.value == found.ratio.estimate
    assert retimed_score(found, ReferenceTimes(100.0, 50.0, None), [75.0]) == found.ratio.estimate
    assert reference_score(None, [75.0]) is None


def test_the_reference_scores_a_series_of_the_winner_alone(series, trusted):
    alone = opened_series(series(interleave=False), trusted)
    assert retimed_score(alone, ReferenceTimes(100.0, 50.0, None), [75.0]) == 0.5


def test_the_reference_scores_no_interleaved_series(series, trusted):
    once = opened_series(series(runs=1), trusted)
    assert series_score(once) is None
    assert retimed_score(once, ReferenceTimes(100.0, 50.0, None), [75.0]) is None, (
        "start and target ran, too few for a score"
    )


def test_a_winner_that_reached_the_target_by_luck_has_no_score(series, trusted):
    score = series_score(opened_series(series(losses=(3.2790, 3.9, 3.9)), trusted))
    assert (score.value, score.refused) == (None, "the winner's mean loss is 3.6930, above the target 3.28")


def test_a_winner_whose_series_fails_an_audit_has_no_score(series, trusted, monkeypatch):
    found = opened_series(series(), trusted)
    mine = series_scores.outcomes_of(found, None)
    last = replace(mine[-1], status=EvaluationStatus.AUDIT_FAILED)
    monkeypatch.setattr(series_scores, "outcomes_of", lambda *asked: (*mine[:-1], last))
    score = series_score(found)
    assert (score.value, score.refused) == (None, f"run {last.run_id} of the winner: audit failed")


def test_a_winner_whose_series_stopped_early_has_no_score(series, trusted):
    found = opened_series(series(started=6), trusted)
    score = series_score(found)
    assert (score.value, score.refused) == (None, "a run of the winner ended without a loss")
    assert retimed_score(found, ReferenceTimes(100.0, 50.0, None), [75.0]) is None, (
        "not that of other machines"
    )


def test_a_gap_within_the_noise_is_no_score(series, trusted):
    times = {**TIMES, Arm.TARGET: (8000, 10500, 9000)}
    score = series_score(opened_series(series(times=times), trusted))
    assert (score.value, score.refused, score.ratio.resolved) == (None, "", False)


def test_every_round_begins_with_another_arm():
    arms = order(SeriesRequest(3, interleave=True))
    assert [arms[i] for i in (0, 3, 6)] == [Arm.START, Arm.TARGET, Arm.CANDIDATE]
    assert all(set(arms[i : i + 3]) == set(Arm) for i in (0, 3, 6))
    assert order(SeriesRequest(2)) == (Arm.CANDIDATE, Arm.CANDIDATE)


def test_its_figures_are_those_of_its_runs(series, trusted):
    found = opened_series(series(losses=(3.2790, 3.2781, 3.2785)), trusted)
    assert found.trusted and len(found.members) == 9
    assert found.loss == mean_below((3.2790, 3.2781, 3.2785), 3.28)
    assert found.ratio == fieller(TIMES[Arm.START], TIMES[Arm.TARGET], TIMES[Arm.CANDIDATE])
    assert found.ratio.resolved and found.ratio.estimate == pytest.approx(0.505, abs=0.01)
    (candidate,) = (a for a in found.arms if a.arm is Arm.CANDIDATE)
    assert candidate.mean_ms == pytest.approx(6990)
    assert candidate.low_ms < candidate.mean_ms < candidate.high_ms


def excess(seconds, outcome=Outcome.PASSED):
    figures = (("excess_s", seconds),)
    return (
        AuditCheck(UNTIMED_OVERHEAD.id, Severity.WARNING, outcome, "compared with the start script", figures),
    )


def candidates(found):
    return [m for m in found.members if m.slot.arm is Arm.CANDIDATE]


def test_what_a_candidate_needs_beyond_the_start_arm_outside_its_clock_is_added_to_its_time(series, trusted):
    late = {Arm.START: 30.0, Arm.TARGET: 40.0, Arm.CANDIDATE: 32.0}
    found = opened_series(series(late=late), trusted)
    assert [round(m.time.untimed_overhead) for m in candidates(found)] == [2000] * 3
    assert [m.time.untimed_overhead for m in found.members if m.slot.arm is not Arm.CANDIDATE] == [None] * 6
    more = [ms + 2000 for ms in TIMES[Arm.CANDIDATE]]
    assert found.ratio.estimate == pytest.approx(
        fieller(TIMES[Arm.START], TIMES[Arm.TARGET], more).estimate, abs=1e-3
    )


def test_a_candidate_that_needs_less_outside_its_clock_gains_nothing(series, trusted):
    found = opened_series(series(late={Arm.START: 30.0, Arm.TARGET: 30.0, Arm.CANDIDATE: 1.0}), trusted)
    assert [m.time.untimed_overhead for m in candidates(found)] == [0.0] * 3


def test_the_excess_over_all_starts_of_the_series_goes_before_that_over_one_of_them(series, trusted):
    found = opened_series(series(late=ON_TIME | {Arm.CANDIDATE: 9.0}, checks=excess(3.5)), trusted)
    assert [m.time.untimed_overhead for m in candidates(found)] == pytest.approx([9000.0] * 3, abs=2)


def test_without_arms_an_audits_excess_counts(series, trusted):
    found = opened_series(series(interleave=False, checks=excess(3.5)), trusted)
    assert [m.time.untimed_overhead for m in found.members] == [3500.0] * 3


def test_without_arms_and_audits_the_excess_is_unknown_and_not_0(series, trusted):
    alone = opened_series(series(interleave=False), trusted)
    assert [m.time.untimed_overhead for m in alone.members] == [None] * 3
    assert alone.members[0].time_ms == TIMES[Arm.CANDIDATE][0]


def test_a_skipped_audit_measured_nothing(series, trusted):
    found = opened_series(series(interleave=False, checks=excess(0.0, Outcome.SKIPPED)), trusted)
    assert [m.time.untimed_overhead for m in found.members] == [None] * 3


@pytest.mark.parametrize("arm", [Arm.START, Arm.TARGET])
def test_an_arm_that_is_not_its_records_own_script_is_refused(series, trusted, monkeypatch, press, arm):
    where = series()
    other = {3: Arm.START, 4: Arm.TARGET}
    scripts = {n: SCRIPTS[a] if a is not arm else b"# upstream's" for n, a in other.items()}
    monkeypatch.setattr(
        "kit.series.documents.own_digest", lambda record: press.tree_of(scripts[record.number])
    )
    with pytest.raises(DigestMismatch, match=f"does not run the {arm} record's original script"):
        opened_series(where, trusted)


def test_a_gap_within_the_noise_is_unresolved(series, trusted):
    times = dict.fromkeys(Arm, (5000, 5400, 4700))
    assert opened_series(series(times=times), trusted).unresolved


def test_a_run_that_missed_counts_with_its_loss(series, trusted):
    found = opened_series(series(interleave=False, losses=(3.2790, 3.2900, 3.2785)), trusted)
    assert found.loss.mean == pytest.approx((3.2790 + 3.2900 + 3.2785) / 3)
    assert found.arms[0].reached == 2 and found.arms[0].counted == 3


def test_runs_that_never_started_are_named_and_take_the_p_away(series, trusted):
    found = opened_series(series(interleave=False, started=2), trusted)
    assert [m.bundle is None for m in found.members] == [False, False, True]
    assert found.loss is None
    assert len(found.body.ended.not_started) == 1


def test_a_bundle_that_is_left_out_afterwards_is_missed(series, trusted):
    where = series(interleave=False)
    shutil.rmtree(where.parent / "r03-20260101T000000Z-00000001")
    with pytest.raises(PrerequisiteError, match="00000001"):
        opened_series(where, trusted)


@pytest.mark.parametrize("document", ["plan.json", "series.json"])
def test_a_pipe_in_place_of_a_signed_document_is_refused_and_not_waited_for(series, trusted, document):
    where = series(interleave=False)
    (where / document).unlink()
    os.mkfifo(where / document)
    with pytest.raises(KitError, match="not a regular file"):
        read(where / document, trusted)


def test_a_run_cannot_be_replaced_by_a_better_one(series, trusted, press, tmp_path):
    where = series(interleave=False)
    run = tmp_path / "r03-20260101T000000Z-00000001"
    plan = json.loads((run / "result.json").read_bytes())
    shutil.rmtree(run)
    press.press(tmp_path, press.Sample(1, script=SCRIPTS[Arm.CANDIDATE], final_loss=3.2700))
    assert plan != json.loads((run / "result.json").read_bytes())
    with pytest.raises(DigestMismatch, match="does not match the run reserved as"):
        opened_series(where, trusted)


def test_a_reserved_run_with_another_script_is_refused(series, trusted, press, tmp_path):
    where = series(interleave=False)
    run = tmp_path / "r03-20260101T000000Z-00000001"
    digest = press.MAKE.payload_of((run / "result.json").read_bytes())["predicate"]["series"]
    shutil.rmtree(run)
    extra = (("series", Series(digest["id"], digest["plan_sha256"])),)
    press.press(tmp_path, press.Sample(1, script=b"# other\n", extra=extra))
    with pytest.raises(DigestMismatch, match="a different submission than was reserved"):
        opened_series(where, trusted)


def test_a_second_run_under_the_reserved_id_is_refused(series, trusted, press, tmp_path):
    where = series(interleave=False)
    run = tmp_path / "r03-20260101T000000Z-00000001"
    digest = press.MAKE.payload_of((run / "result.json").read_bytes())["predicate"]["series"]
    shutil.rmtree(run)
    extra = (("series", Series(digest["id"], digest["plan_sha256"])),)
    press.press(tmp_path, press.Sample(1, script=SCRIPTS[Arm.CANDIDATE], final_loss=3.27, extra=extra))
    with pytest.raises(DigestMismatch, match=r"does not match its digest in series\.json"):
        opened_series(where, trusted)


@pytest.mark.parametrize("name", ["plan.json", "series.json"])
def test_no_byte_of_plan_and_record_can_change_unnoticed(series, trusted, name):
    where = series(interleave=False)
    data = (where / name).read_bytes()
    for at in range(0, len(data), 37):
        changed = bytearray(data)
        changed[at] ^= 1
        (where / name).write_bytes(changed)
        with pytest.raises(KitError):
            opened_series(where, trusted)


def test_another_plan_of_the_same_signer_does_not_fit(series, trusted, press, tmp_path):
    where = series(interleave=False, started=0)
    body = press.MAKE.payload_of((where / "plan.json").read_bytes())
    body["predicate"]["plan"]["slots"] = body["predicate"]["plan"]["slots"][:1]
    (where / "plan.json").write_bytes(press.MAKE.signed(canonical_json(body)))
    with pytest.raises(DigestMismatch, match="subjects"):
        opened_series(where, trusted)


@pytest.mark.parametrize("change", ["forgotten", "twice"])
def test_a_record_that_does_not_account_for_every_reserved_run_is_refused(series, trusted, press, change):
    where = series(interleave=False, started=2)
    body = press.MAKE.payload_of((where / "series.json").read_bytes())
    ended = body["predicate"]["ended"]
    run = "r03-20260101T000000Z-00000000"
    ended["not_started"] = [] if change == "forgotten" else [*ended["not_started"], run]
    (where / "series.json").write_bytes(press.MAKE.signed(canonical_json(body)))
    with pytest.raises(DigestMismatch, match=r"series\.json does not account for every reserved run"):
        opened_series(where, trusted)


def test_a_series_of_an_untrusted_key_is_read_but_not_trusted(series, press):
    where = series(interleave=False)
    found = opened_series(where, Trusted((press.MAKE.STRANGER.public,)))
    assert not found.trusted
    (where / "signer.pem").unlink()
    with pytest.raises(SignatureError):
        opened_series(where, Trusted((press.MAKE.STRANGER.public,)))


def test_the_record_of_a_lost_series_is_written_later(series, trusted, press, tmp_path):
    where = series(interleave=False, started=1, end=False)
    assert close_abandoned(tmp_path, press.MAKE.SIGNER) == (ClosedSeries(where.name, where / "series.json"),)
    found = opened_series(where, trusted)
    assert found.body.ended.reason == "speedrun exited before the series finished"
    assert len(found.body.ended.not_started) == 2
    assert close_abandoned(tmp_path, press.MAKE.SIGNER) == ()


def test_a_lost_series_of_another_key_is_not_closed_in_its_name(series, press, tmp_path):
    where = series(interleave=False, started=1, end=False)
    before = {p.name: p.read_bytes() for p in where.iterdir()}
    assert close_abandoned(tmp_path, press.MAKE.STRANGER) == ()
    assert {p.name: p.read_bytes() for p in where.iterdir()} == before


@pytest.mark.parametrize("change", [lambda plan: b"{}", lambda plan: plan[:-9] + b"0" + plan[-8:]])
def test_a_plan_that_cannot_be_read_keeps_no_other_series_open(series, press, tmp_path, change):
    where = series(interleave=False, started=1, end=False)
    broken = tmp_path / "s03-20200101T000000Z-00000000"
    shutil.copytree(where, broken)
    (broken / "plan.json").write_bytes(change((where / "plan.json").read_bytes()))
    with pytest.raises(IntegrityError, match=f"cannot close series {broken.name}: ") as e:
        close_abandoned(tmp_path, press.MAKE.SIGNER)
    assert f"mv {broken} " in e.value.hint
    assert (where / "series.json").exists() and not (broken / "series.json").exists()


def test_a_copy_of_a_lost_series_gets_no_record(series, press, tmp_path):
    where = series(interleave=False, started=1, end=False)
    other = tmp_path / "elsewhere"
    shutil.copytree(tmp_path, other, ignore=shutil.ignore_patterns("elsewhere"))
    with pytest.raises(SignatureError, match=f"cannot close series {where.name}: .* is a copy"):
        close_abandoned(other, press.MAKE.SIGNER)
    assert not (other / where.name / "series.json").exists()
    assert close_abandoned(tmp_path, press.MAKE.SIGNER)


def test_a_copy_of_a_series_that_goes_on_gets_no_record(tmp_path, press):
    slot = Slot("r03-x", "00", Arm.CANDIDATE, "0" * 64)
    created = "2026-01-01T00:00:00.000+00:00"
    plan = SeriesPlan(new_series_id(3), created, 3, Profile.FULL, StopRule.ALL_RUNS, (slot,))
    with reserved_series(tmp_path / "runs", plan, press.MAKE.SIGNER):
        shutil.copytree(tmp_path / "runs", tmp_path / "copy")
        with pytest.raises(SignatureError, match="is a copy"):
            close_abandoned(tmp_path / "copy", press.MAKE.SIGNER)


def test_a_series_without_a_reservation_is_refused_by_name(series, press, tmp_path):
    where = series(interleave=False, started=1, end=False)
    (where / "reservation.json").unlink()
    with pytest.raises(SignatureError, match=f"{where.name}: reservation.json is missing; version 0.1"):
        close_abandoned(tmp_path, press.MAKE.SIGNER)


@pytest.mark.parametrize("part", ["plan.json", "reservation.json", "folder"])
def test_parts_of_two_series_are_not_put_together(series, press, tmp_path, part):
    where = series(interleave=False, started=0, end=False)
    other = series(interleave=False, started=0, end=False)
    if part == "folder":
        shutil.rmtree(other)
        where.rename(other)
        where = other
    else:
        shutil.copy(other / part, where / part)
    with pytest.raises(IntegrityError, match=f"cannot close series {where.name}: "):
        close_abandoned(tmp_path, press.MAKE.SIGNER)
    assert not (where / "series.json").exists()


def test_a_series_of_another_machine_is_left_to_it(series, press, tmp_path, monkeypatch):
    where = series(interleave=False, started=1, end=False)
    monkeypatch.setattr("kit.core.process._host", lambda: "another")
    assert close_abandoned(tmp_path, press.MAKE.SIGNER) == () and not (where / "series.json").exists()


def test_a_series_ends_only_after_its_runs(series, press, tmp_path):
    where = series(interleave=False, started=1, end=False)
    run = tmp_path / "r03-20260101T000000Z-00000001"
    run.mkdir()
    (run / "intent.json").write_text("{}")
    with pytest.raises(
        PrerequisiteError, match=f"cannot close series {where.name}: run {run.name} has no result"
    ):
        close_abandoned(tmp_path, press.MAKE.SIGNER)
    assert not (where / "series.json").exists()


@pytest.mark.parametrize("planted", ["junk", "another run", "another key"])
def test_a_bundle_that_is_not_of_the_reserved_run_is_not_bound(series, press, tmp_path, planted):
    where = series(interleave=False, started=2, end=False)
    first, second = (tmp_path / f"r03-20260101T000000Z-0000000{n}" / "result.json" for n in (0, 1))
    match planted:
        case "junk":
            second.write_text("{}")
        case "another run":
            shutil.copy(first, second)
        case "another key":
            payload = press.MAKE.payload_of(second.read_bytes())
            second.write_bytes(press.MAKE.signed(canonical_json(payload), press.MAKE.STRANGER))
            (second.parent / "signer.pem").write_bytes(press.MAKE.STRANGER.public.pem)
    with pytest.raises(IntegrityError, match=f"cannot close series {where.name}: .*{second.parent.name}"):
        close_abandoned(tmp_path, press.MAKE.SIGNER)
    assert not (where / "series.json").exists()


def test_a_series_that_ended_leaves_its_documents_alone(series):
    where = series(interleave=False)
    assert sorted(p.name for p in where.iterdir()) == ["plan.json", "series.json", "signer.pem"]


def test_a_series_of_another_user_is_left_alone(series, press, tmp_path):
    where = series(interleave=False, started=1, end=False)
    (where / ".alive").unlink()
    (where / ".alive").mkdir()  # as unopenable for root as a closed file is for others
    assert close_abandoned(tmp_path, press.MAKE.SIGNER) == ()


def test_a_series_that_goes_on_is_left_alone(tmp_path, press):
    slot = Slot("r03-x", "00", Arm.CANDIDATE, "0" * 64)
    created = "2026-01-01T00:00:00.000+00:00"
    plan = SeriesPlan(new_series_id(3), created, 3, Profile.FULL, StopRule.ALL_RUNS, (slot,))
    with reserved_series(tmp_path, plan, press.MAKE.SIGNER):
        assert close_abandoned(tmp_path, press.MAKE.SIGNER) == ()


def test_the_command_verifies_and_answers(series, press, tmp_path, capsys):
    where = series(losses=(3.2790, 3.2781, 3.2785))
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "a.pem").write_bytes(press.MAKE.SIGNER.public.pem)
    code = speedrun(["series", str(where), "--keys", str(keys), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["loss"]["p"] < 0.01 else 1)
    assert found["fsr"]["low"] < found["fsr"]["estimate"] < found["fsr"]["high"]
    assert speedrun(["series", str(where), "--keys", str(tmp_path / "none")]) == 1
    shown = capsys.readouterr().err
    assert "signed by an untrusted key" in shown and "FSR 0.5" in shown
    assert f"speedrun keys trust {where / 'signer.pem'}" in shown


def test_what_is_no_series_or_has_not_ended_is_said(series, press, tmp_path, capsys):
    where = series(interleave=False, started=1, end=False)
    assert speedrun(["series", str(where), "--keys", str(tmp_path / "none")]) == 3
    said = capsys.readouterr().err
    assert "has not ended" in said and f"speedrun doctor --fix --out {tmp_path}" in said
    for other in (tmp_path / "absent", tmp_path / "r03-20260101T000000Z-00000000"):
        assert speedrun(["series", str(other), "--keys", str(tmp_path / "none")]) == 3
        said = capsys.readouterr().err
        assert "is a run, not a series" in said or "is not a series: plan.json not found" in said


def test_a_series_of_record_21_timed_again_is_not_one_of_record_21(tmp_path, press, monkeypatch):
    monkeypatch.setattr("kit.series.documents.own_digest", own_digest)
    created = "2026-01-01T00:00:00.000+00:00"
    wrong = Slot("r21-x", "00", Arm.START, "0" * 64)
    again = SeriesPlan(new_series_id(21), created, 21, Profile.FULL, StopRule.ALL_RUNS, (wrong,), task="21c")
    with reserved_series(tmp_path / "runs", again, press.MAKE.SIGNER):
        assert again.name == "21c"  # and the plan has the form of series.v1
    records = facts_root() / "records"
    start = Slot("r21-y", "00", Arm.START, own_digest(load(records, "21c")))
    target = Slot("r22-y", "00", Arm.TARGET, own_digest(load(records, "22")))
    assert list(mismatched_scripts(again, records)) != []
    assert list(mismatched_scripts(replace(again, slots=(start, target)), records)) == []

"""Horizon tasks: the score, the staircase, the curve as CSV and image, and the series of the winner."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from fake_session import begin, fake_parts, fake_task, opened, write_script

from kit.agent.budget import parse_budget
from kit.agent.horizon import Horizon, horizon_of, horizon_reference, horizon_text, load_horizon, staircase
from kit.agent.outcome import ReferenceTimes
from kit.audit.parsing import SourceFile
from kit.benchmark.records import load, own_digest
from kit.cli import run
from kit.cli.session import new
from kit.core.errors import KitError, PrerequisiteError, UsageError
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.evaluate.request import Overrides, Places, Request
from kit.evaluate.start_script import RecordScript
from kit.leaderboard.page.agent_runs import group_runs
from kit.series.documents import mismatched_scripts
from kit.series.record import Arm, SeriesPlan, Slot, StopRule
from kit.session.opening import SessionParts, open_session, session_spec, stored_overrides
from kit.session.recorded import curve_csv, read_session
from kit.values.profile import Profile
from kit.values.software import Kit

RECORDS = facts_root() / "records"


@pytest.fixture
def horizon() -> Horizon:
    return load_horizon(RECORDS, "smoke-1", "smoke-3")


def test_the_records_between_start_and_horizon_are_a_staircase(horizon: Horizon) -> None:
    assert [step.record for step in horizon.steps] == ["smoke-1", "smoke-2", "smoke-3"]
    start, between, end = (step.time_ms for step in horizon.steps)
    assert horizon.steps[1].share == pytest.approx((start - between) / (start - end))
    assert (horizon.steps[0].share, horizon.steps[2].share) == (0.0, 1.0)
    assert len(load_horizon(RECORDS, "3", "20").steps) == 18


def test_a_horizon_spans_whatever_records_there_are(tmp_path: Path) -> None:
    """Records 29 to 45 may be those of this kit or stand-ins: nothing here knows which ones exist."""
    folder = Path(shutil.copytree(RECORDS, tmp_path / "records"))
    text = (folder / "46.toml").read_text()
    for n in range(29, 46):
        path = folder / f"{n}.toml"
        if not path.exists():
            stand_in = text.replace('id = "46"', f'id = "{n}"').replace(
                'target = "47"', f'target = "{n + 1}"'
            )
            path.write_text(stand_in.replace("official_s = 132.18", f"official_s = {150 - n + 29}"))
    horizon = load_horizon(folder, "29", "62")
    assert [step.record for step in horizon.steps] == [str(n) for n in range(29, 63)]
    assert (horizon.steps[0].share, horizon.steps[-1].share) == (0.0, 1.0)
    assert horizon_text(horizon, 2.0, 1.0).endswith("32 human records lie between them.")
    spec = session_spec(fake_task(tmp_path), "t", parse_budget("wall=1h"), horizon, Overrides())
    assert horizon_of(spec) == horizon and len(staircase(horizon, spec)) == 34


@pytest.mark.parametrize(("start", "end"), [("3", "2"), ("smoke-2", "smoke-1"), ("1", "999"), ("3", "3")])
def test_a_horizon_that_does_not_follow_is_refused(start: str, end: str) -> None:
    with pytest.raises(UsageError):
        load_horizon(RECORDS, start, end)


def test_the_score_is_measured_between_start_and_horizon_on_this_machine(horizon: Horizon) -> None:
    known = ReferenceTimes(1000.0, 900.0, 20.0)
    assert horizon_reference(None, known, None, None) == known
    far = horizon_reference(horizon, known, None, None)
    assert far is not None
    assert (far.start_ms, far.target_ms) == (horizon.steps[0].time_ms, horizon.steps[-1].time_ms)
    here = horizon_reference(horizon, known, 2 * horizon.steps[0].time_ms, None)
    assert here is not None and here.target_ms == pytest.approx(2 * horizon.steps[-1].time_ms)
    given = horizon_reference(horizon, known, 5000.0, 1000.0)
    assert given is not None and (given.start_ms, given.target_ms) == (5000.0, 1000.0)
    for start, target in ((None, 5.0), (5.0, 5.0)):
        with pytest.raises(UsageError):
            horizon_reference(horizon, known, start, target)


def test_the_spec_keeps_the_horizon_and_the_deadlines(tmp_path: Path, horizon: Horizon) -> None:
    overrides = Overrides(start_s=600.0, total_s=1200.0)
    spec = session_spec(fake_task(tmp_path), "t", parse_budget("wall=1h"), horizon, overrides)
    assert horizon_of(spec) == horizon and stored_overrides(spec) == overrides
    assert (
        horizon_of(session_spec(fake_task(tmp_path), "t", parse_budget("wall=1h"), None, Overrides())) is None
    )
    steps = staircase(horizon, spec)  # the fake task's times here are 1,000 and 600 ms
    assert [step["time_ms"] for step in steps] == pytest.approx(
        [1000.0, 1000 - 400 * horizon.steps[1].share, 600]
    )


@pytest.fixture
def shown(tmp_path: Path, horizon: Horizon) -> Path:
    """A session with a try, two evaluations and a failed one."""
    folder = begin(tmp_path, horizon=horizon)
    with opened(folder) as session:
        assert "record smoke-3" in session.call("brief", {}, "t").text
        session.call("try", {"gpus": 8, "seconds": 10}, "t")
        for text in ("# fast\n", "# crash\n", "# fast fast fast\n"):
            write_script(session, text)
            session.call("evaluate", {}, "t")
    return folder


def test_the_curve_is_recovered_progress_against_all_gpu_hours(shown: Path, horizon: Horizon) -> None:
    rows = list(csv.DictReader(io.StringIO(curve_csv(read_session(shown)))))
    points = [row for row in rows if row["kind"] == "evaluation"]
    assert [float(row["best"]) for row in points] == [0.25, 0.25, 0.75]
    assert [row["recovered"] for row in points] == ["0.25", "", "0.75"]
    hours = [float(row["gpu-hours"]) for row in points]
    assert hours == pytest.approx([(16 + 80 * n) / 3600 for n in (1, 2, 3)]), "the try is charged too"
    steps = [(row["name"], float(row["recovered"])) for row in rows if row["kind"] == "record"]
    assert steps == [(step.record, step.share) for step in horizon.steps]


def test_show_prints_the_session_and_draws_its_curve(
    shown: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "curve.svg"
    assert run(["session", "show", str(shown), "--svg", str(image)]) == 0
    root = ElementTree.fromstring(image.read_text())
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"smoke-2", "smoke-3", "GPU-hours"} <= {(text or "").strip() for text in texts}
    assert len([e for e in root.iter() if e.get("stroke-dasharray")]) == 2
    capsys.readouterr()
    assert run(["session", "show", str(shown), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["horizon"], document["winner"], document["state"]) == ("smoke-3", 3, "open")
    assert [point["best"] for point in document["curve"]] == [0.25, 0.25, 0.75]
    assert run(["session", "show", str(shown)]) == 0
    text = capsys.readouterr().out
    assert "GPU-hours: " in text and "smoke-2" in text and "evaluation 2: buggy_crash" in text
    assert "Findings of the audits, for a person to judge" in text and "a finding" in text


def test_a_scaffold_s_run_is_no_session(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["session", "show", str(tmp_path)]) == 3
    assert run(["session", "verify", str(tmp_path)]) == 3
    capsys.readouterr()


def test_the_target_arm_of_a_series_runs_the_horizon_s_script() -> None:
    def slot(arm: Arm, record: str) -> Slot:
        return Slot(f"r00-{arm}", "00", arm, own_digest(load(RECORDS, record)))

    slots = (slot(Arm.START, "smoke-1"), slot(Arm.TARGET, "smoke-3"), slot(Arm.CANDIDATE, "smoke-2"))
    plan = SeriesPlan("s", "now", 0, Profile.SMOKE, StopRule.ALL_RUNS, slots, "smoke-1", "smoke-3")
    assert list(mismatched_scripts(plan, RECORDS)) == []
    (wrong,) = mismatched_scripts(replace(plan, horizon=None), RECORDS)
    assert "target record's original script" in wrong


def test_end_writes_a_signed_summary_and_verify_reads_it(
    shown: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from kit.session.opening import end_session, sign_session

    assert end_session(shown, fake_parts(shown)) == 3
    assert end_session(shown, fake_parts(shown)) == 3, "a second end changes nothing"
    sign_session(shown, tmp_path / "keys")
    with opened(shown) as session:
        assert "has ended" in session.call("evaluate", {}, "t").text
        assert "has ended" in session.call("write", {"path": "x.py", "content": ""}, "t").text
    argv = ["session", "verify", str(shown), "--keys", str(tmp_path / "keys"), "--json"]
    assert run(argv) == 4
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert [fault for fault in faults if "bundle" not in fault] == [], "the fakes write no bundles"
    (shown / "tries" / "001" / "guest.log").write_text("another log")
    (shown / "tries" / "001" / "submission" / "train_gpt2.py").write_text("another script")
    assert run(argv) == 4
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert len([fault for fault in faults if fault.startswith("try 1: ")]) == 2


def test_the_report_keeps_horizon_sessions_apart(shown: Path, tmp_path: Path) -> None:
    near = begin(tmp_path / "near")
    groups = group_runs([read_session(shown).run, read_session(near).run])
    assert [group.task for group in groups] == ["smoke-1", "smoke-1 to smoke-3"]
    assert [point.best for point in groups[1].curves[0]] == [0.25, 0.25, 0.75]


@pytest.fixture
def crossing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Places, dict[str, bytes]]:
    """Places whose scripts are `scripts`, by the name of their record; plans name the image alone."""
    scripts = {"29": b"import torch\n", "62": b"import torch\n", "46": b"import torch\n"}

    def files(self: RecordScript, places: Places) -> tuple[SourceFile, ...]:
        return (SourceFile("train_gpt.py", scripts[self.record.name]),)

    def planned(request: Request, places: Places) -> SimpleNamespace:
        return SimpleNamespace(era=request.image or load(RECORDS, request.record).era)

    monkeypatch.setattr(RecordScript, "files", files)
    monkeypatch.setattr("kit.evaluate.plan.draft", planned)
    facts = facts_root()
    places = Places(RECORDS, facts / "images", Store(tmp_path), tmp_path, tmp_path, (), Kit("0", None))
    return places, scripts


@pytest.mark.parametrize(
    ("start", "image", "chosen", "other"),
    [("29", None, "torch-2.10.0", "29"), ("29", "torch-2.9.1", "torch-2.9.1", "62"),
     ("29", "torch-2.10.0", "torch-2.10.0", "29"), ("46", None, None, None)],
)  # fmt: skip
def test_ends_of_two_images_run_in_the_horizon_s_and_are_named(
    start: str, image: str | None, chosen: str | None, other: str | None,
    crossing: tuple[Places, dict[str, bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    places, _ = crossing
    horizon = load_horizon(RECORDS, start, "62")
    request, others = new.in_one_image(Request(start, Profile.FULL, image=image), horizon, places)
    assert request.image == chosen and [record.name for record in others] == ([other] if other else [])
    if chosen is None:
        return
    new.warn_of_eras(chosen, horizon, others, False, tmp_path / "s")
    said = capsys.readouterr().err
    assert f"warning: record {other} was written for" in said
    assert f"speedrun session end {tmp_path / 's'} --retime 5 --interleave" in said
    assert said.count(f"--image {chosen}") == 2, "how to time both ends there"
    new.warn_of_eras(chosen, horizon, others, True, tmp_path / "s")
    assert "no score" not in capsys.readouterr().err


def test_an_end_that_cannot_start_in_the_image_is_refused_before_the_session_begins(
    crossing: tuple[Places, dict[str, bytes]],
) -> None:
    places, scripts = crossing
    horizon = load_horizon(RECORDS, "29", "62")
    scripts["62"] = b"import tiktoken\n"
    with pytest.raises(PrerequisiteError, match=r"record 62 cannot start in the image torch-2\.9\.1"):
        new.in_one_image(Request("29", Profile.FULL, image="torch-2.9.1"), horizon, places)
    new.in_one_image(Request("29", Profile.FULL), horizon, places)  # the horizon's image has it
    with pytest.raises(KitError, match=r"torch-9"):
        new.in_one_image(Request("29", Profile.FULL, image="torch-9"), horizon, places)
    assert new.in_one_image(Request("29", Profile.SMOKE), horizon, places)[1] == ()


def test_the_records_times_do_not_count_across_images(horizon: Horizon) -> None:
    known = ReferenceTimes(1000.0, 900.0, 20.0)
    assert horizon_reference(horizon, known, None, None, one_image=False) is None
    with pytest.raises(UsageError, match="in this session's image"):
        horizon_reference(horizon, known, 1000.0, None, one_image=False)
    given = horizon_reference(horizon, known, 5000.0, 1000.0, one_image=False)
    assert given is not None and (given.start_ms, given.target_ms) == (5000.0, 1000.0)


def test_a_session_without_times_shows_no_score_and_says_where_it_comes_from(
    tmp_path: Path, horizon: Horizon, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_times(parts: SessionParts) -> SessionParts:
        settings = replace(parts.task.settings, start_ms=None, start_sd_ms=None, target_ms=None)
        return replace(parts, task=replace(parts.task, settings=settings))

    folder = tmp_path / "session"
    begin(tmp_path, horizon=horizon, parts=without_times(fake_parts(folder)))
    with open_session(folder, without_times(fake_parts(folder))) as session:
        assert "Until then no score is shown." in session.call("brief", {}, "t").text
    assert run(["session", "show", str(folder)]) == 0
    assert "no score before the end" in capsys.readouterr().out

"""Results of the tasks after the paper's have rows of their own, a set to be ranked in, and series."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("scipy")

from kit.benchmark.tasks import TaskSet, load_task, load_tasks
from kit.cli import run as speedrun
from kit.core.facts import facts_root
from kit.leaderboard.page.rank import rank
from kit.leaderboard.submit.check import check
from kit.leaderboard.submit.entry import BoardEntry, write_submission
from kit.leaderboard.submit.series import verify_whole_series, write_series_submission
from kit.result.predicate import Series
from kit.result.verify import open_bundle
from kit.series.record import Arm, SeriesPlan, Slot, StopRule, close, new_series_id, reserved_series
from kit.values.profile import Profile

ENTRY = "train_gpt.py"
TASK = 59
KERNELS = (("triton_kernels.py", b"# kernels\n"),)
SCRIPTS = {arm: f"# {arm} of a later task\n".encode() for arm in Arm}


@pytest.fixture
def times():
    """Milliseconds of start and target: official ones, because nobody re-timed these records."""
    task = load_task(facts_root(), TASK)
    return task.start.reference_ms, task.gap_ms


@pytest.fixture
def board(tmp_path, press, trusted, times):
    """A board with one run of task 59 that closes half of the gap, and one of the paper's task 3."""
    start, gap = times
    root = tmp_path / "board"
    time_ms = round(start - 0.5 * gap)
    later = press.Sample(1, TASK, TASK + 1, entry=ENTRY, more=KERNELS, time_ms=time_ms)
    paper = load_task(facts_root(), 3)
    earlier = press.Sample(2, time_ms=round(paper.start.reference_ms - 0.25 * paper.gap_ms))
    for sample in (later, earlier):
        found = open_bundle(press.press(tmp_path / "runs", sample), trusted)
        write_submission(found, BoardEntry("an-agent"), root)
    return root


def means(board, trusted, chosen):
    """Return each row's mean by task, the overall mean and the number of tasks that it counts."""
    tasks = load_tasks(facts_root(), chosen)
    checked = check(board, trusted)
    assert not checked.findings
    made = rank(checked, facts_root(), tasks)
    rows = {group.task: group.score.mean for group in made.groups}
    (overall,) = made.overall
    return rows, {t.task: t.mean for t in overall.tasks}, len(overall.tasks) + len(overall.absent)


def test_a_later_result_keeps_the_names_of_its_files_on_the_board(board):
    found = (board / "submissions" / "59").rglob("submission/*")
    assert {path.name for path in found} == {ENTRY, KERNELS[0][0]}


def test_a_further_file_that_was_changed_is_refused(board, trusted):
    (kernels,) = (board / "submissions" / "59").rglob("triton_kernels.py")
    kernels.write_bytes(b"# other kernels\n")
    (found,) = check(board, trusted).findings
    assert "differ from the submission that ran: triton_kernels.py was changed" in found.message


@pytest.mark.parametrize(("chosen", "own", "size"), [("paper", 3, 19), ("later", TASK, 66)])
def test_each_set_is_ranked_by_its_own_tasks_and_shows_the_others(board, trusted, chosen, own, size):
    rows, overall, tasks = means(board, trusted, TaskSet(chosen))
    assert rows == {TASK: pytest.approx(0.5, abs=2e-3), 3: pytest.approx(0.25, abs=2e-3)}
    assert (set(overall), tasks) == ({own}, size)


def test_with_all_sets_both_count(board, trusted):
    _, overall, tasks = means(board, trusted, TaskSet.ALL)
    assert (set(overall), tasks) == ({3, TASK}, 85)


def test_the_page_of_the_later_set_is_built(board, tmp_path, press, capsys):
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "trusted.pem").write_bytes(press.MAKE.SIGNER.public.pem)
    site = ["--out", str(tmp_path / "site"), "--keys", str(keys), "--json"]
    assert speedrun(["report", str(board), "--set", "later", *site]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["task"] for row in told["rows"]} == {3, TASK}
    assert "59" in (tmp_path / "site" / "index.html").read_text()


def test_a_series_of_a_later_task_is_submitted_whole(tmp_path, press, trusted, times, monkeypatch):
    start, gap = times
    of = {TASK: SCRIPTS[Arm.START], TASK + 1: SCRIPTS[Arm.TARGET]}
    for module in ("kit.series.documents", "kit.score.rows"):
        monkeypatch.setattr(f"{module}.own_digest", lambda r: press.tree_of(of[r.number], ENTRY))
    shares = {Arm.START: 0.0, Arm.TARGET: 1.0, Arm.CANDIDATE: 0.5}
    arms = (Arm.START, Arm.TARGET, Arm.CANDIDATE) * 2
    records = [TASK + 1 if arm is Arm.TARGET else TASK for arm in arms]
    slots = tuple(
        Slot(f"r{record}-20260101T000000Z-{n:08x}", f"{n:032x}", arm, press.tree_of(SCRIPTS[arm], ENTRY))
        for n, (arm, record) in enumerate(zip(arms, records, strict=True))
    )
    plan = SeriesPlan(
        new_series_id(TASK), "2026-01-01T00:00:00.000+00:00", TASK, Profile.FULL, StopRule.ALL_RUNS, slots
    )
    with reserved_series(tmp_path / "runs", plan, press.MAKE.SIGNER) as (where, digest):
        for n, (arm, record) in enumerate(zip(arms, records, strict=True)):
            time_ms = round(start - shares[arm] * gap)
            extra = (("series", Series(plan.id, digest)),)
            sample = press.Sample(
                n, record, record + 1, script=SCRIPTS[arm], entry=ENTRY, time_ms=time_ms, extra=extra
            )
            press.press(tmp_path / "runs", sample)
        close(where, plan, press.MAKE.SIGNER, "all runs finished")
    root = tmp_path / "board"
    write_series_submission(where, *verify_whole_series(where, trusted), BoardEntry("an-agent"), root)
    checked = check(root, trusted)
    assert not checked.findings and len(checked.accepted) == len(arms)
    made = rank(checked, facts_root(), load_tasks(facts_root(), TaskSet.LATER))
    (group,) = made.groups
    # by hand: the arms' own times are the baseline, and the candidate lies half way between them
    assert group.task == TASK and group.score.mean == pytest.approx(0.5, abs=2e-3)

"""A score covers the tasks of one set: the paper's by default, or only what is newer than a day."""

from __future__ import annotations

import functools
import json

import pytest

from kit.benchmark.records import load
from kit.benchmark.tasks import TaskSet, load_task, load_tasks
from kit.cli import run
from kit.core.errors import PrerequisiteError, UsageError
from kit.core.facts import facts_root
from kit.score import rows as rows_module
from kit.score.baseline import BaselineKind, choose_baseline
from kit.score.rows import read_table
from kit.score.selection import rows_within

ROOT = facts_root()
TABLE = """\
task,config,run,val_loss,train_time_ms
15,a,r1,3.279,520000
61,a,r2,3.278,104880
63,a,r3,3.278,97800
88,a,r4,3.279,74580
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(TABLE)
    return path


def scored(capsys, table, *argv):
    assert run(["score", "--table", str(table), "--repetitions", "100", "--json", *argv]) == 0
    printed = capsys.readouterr()
    (config,) = json.loads(printed.out)["configs"]
    return {t["task"]: t["mean"] for t in config["tasks"]}, config["absent"], printed.err


def test_without_a_set_the_papers_tasks_are_scored(capsys, table):
    means, absent, said = scored(capsys, table)
    assert list(means) == [15] and len(absent) == 18
    assert "left out 3 runs of tasks that are not in the set paper" in said
    assert "PyTorch" not in said


def test_after_a_day_only_newer_tasks_are_scored(capsys, table):
    means, absent, said = scored(capsys, table, "--after", "2026-01-20")
    # by hand: task 63 ran in its target's official time, task 88 in its start's
    assert means == {63: pytest.approx(1.0), 88: pytest.approx(0.0)}
    assert len(means) + len(absent) == len([t for t in range(62, 89) if t != 65])
    assert "left out 2 runs" in said and "after 2026-01-20" in said
    assert "warning: the gap of task 88 includes a new PyTorch" in said, "63 has no T mark"


def test_after_the_first_day_of_2026_the_earlier_tasks_are_left_out(capsys, tmp_path):
    table = tmp_path / "runs.csv"
    lines = ["task,config,run,val_loss,train_time_ms", "15,a,r1,3.279,520000"]
    # target 56 is of 2025-12-31, target 57 of 2026-01-04
    lines += ["55,a,r2,3.279,115080", "56,a,r3,3.279,113160", "56,a,r4,3.2801,100000", "88,a,r5,3.278,74190"]
    table.write_text("\n".join([*lines, ""]))
    means, absent, said = scored(capsys, table, "--after", "2026-01-01")
    start, gap = 1000 * 113.64, 960.0
    by_hand = [(start - 113160) / gap, 0.0]  # the second run misses the loss
    assert means == {56: pytest.approx(sum(by_hand) / 2, abs=1e-6), 88: pytest.approx(0.5, abs=1e-6)}
    assert len(means) + len(absent) == len([t for t in range(56, 89) if t != 65])
    assert "left out 2 runs of tasks that are not in the set all after 2026-01-01" in said


def test_a_set_without_a_run_is_refused_with_the_option_to_pass(table):
    rows = [row for row in read_table(table) if row.task == 88]
    with pytest.raises(UsageError, match="1 run of tasks that are not in the set paper") as refusal:
        rows_within(rows, load_tasks(ROOT), load_tasks(ROOT, TaskSet.ALL), "the set paper")
    assert "--set all" in refusal.value.hint


def test_a_later_task_has_no_re_timed_baseline():
    task = load_task(ROOT, 63)
    assert choose_baseline(task, "m", (), None).kind is BaselineKind.OFFICIAL
    with pytest.raises(PrerequisiteError):
        choose_baseline(task, "m", (), BaselineKind.RETIMED)


def test_record_21_timed_again_starts_a_task_of_its_own(capsys, tmp_path):
    table = tmp_path / "runs.csv"
    lines = ["task,config,run,val_loss,train_time_ms", "21c,a,r1,3.279,179400", "22,a,r2,3.279,179400"]
    table.write_text("\n".join([*lines, "20,a,r3,3.279,175980", ""]))
    means, absent, _ = scored(capsys, table, "--set", "all")
    assert means["21c"] == pytest.approx(1.0) and means[22] == pytest.approx(0.0)
    assert list(means) == [20, "21c", 22] and 21 not in absent and len(means) + len(absent) == 85
    # the paper's last record is another script
    table.write_text("\n".join([lines[0], "21,a,r1,3.279,179400", ""]))
    assert run(["score", "--table", str(table), "--set", "all"]) == 2
    assert "unknown task 21" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("record", "task"), [("21", 20), ("21c", None), ("22", "21c"), ("23", 22), ("1", None)]
)
def test_a_records_own_script_is_the_target_of_the_task_before_it(record, task):
    record_of = functools.cache(lambda name: load(ROOT / "records", name))
    assert rows_module._start_of(record_of(record), record_of) == task

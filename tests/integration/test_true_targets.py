"""
The source rules let the 19 true targets pass, and the trace rules upstream's own logs.

Skipped, visibly, unless `KIT_UPSTREAM_MIRROR` names a git directory of KellerJordan/modded-nanogpt.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kit.audit import source, trace
from kit.audit.finding import Outcome, Severity
from kit.benchmark.hints import TASKS, target_of
from kit.benchmark.records import fetch_script, load, load_all, sources
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.evaluate.start_script import files_of
from kit.values.log import read_log

MIRROR = os.environ.get("KIT_UPSTREAM_MIRROR", "")
pytestmark = pytest.mark.skipif(not MIRROR, reason="KIT_UPSTREAM_MIRROR names no git directory of upstream")

RECORDS = facts_root() / "records"
LOGGED = [r for r in load_all(RECORDS) if r.log is not None]
VOCABULARY = 50257


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """Files of a record's script, by its number."""
    store = Store(tmp_path_factory.mktemp("store"))

    def files(number: int):
        record = load(RECORDS, number)
        return files_of(fetch_script(record, store, sources(record.script.origin, Path(MIRROR))))

    return files


@pytest.mark.parametrize("task", TASKS)
def test_the_true_target_breaks_no_rule_against_its_start_script(task, scripts):
    findings = source.judge(scripts(target_of(task)), scripts(task))
    fatal = [f for f in findings if f.severity is Severity.FATAL and f.outcome is not Outcome.PASSED]
    assert fatal == []


@pytest.mark.parametrize("task", TASKS)
def test_the_true_target_uses_nothing_that_a_reviewer_has_to_look_at(task, scripts):
    findings = source.judge(scripts(target_of(task)), scripts(task))
    assert next(f for f in findings if f.id == "source.allowed").outcome is Outcome.PASSED


def test_few_true_targets_are_even_flagged(scripts):
    flagged = {
        (task, f.id)
        for task in TASKS
        for f in source.judge(scripts(target_of(task)), scripts(task))
        if f.outcome is Outcome.FAILED
    }
    assert flagged == {
        (2, "source.timer"),
        (3, "source.lines"),
        (3, "source.timer"),
        (14, "source.timer"),
        (16, "source.timer"),
        (17, "source.surroundings"),
    }


@pytest.mark.parametrize("record", LOGGED, ids=lambda r: str(r.number))
def test_upstreams_own_log_fails_no_trace_check(record):
    origin = record.log.file
    command = ["git", "-c", "safe.directory=*", "-C", MIRROR, "cat-file", "blob"]
    done = subprocess.run([*command, f"{origin.commit}:{origin.path}"], capture_output=True, check=True)
    findings = trace.judge(read_log(done.stdout).points, record.untimed_steps, VOCABULARY)
    assert [f for f in findings if f.outcome is Outcome.FAILED] == []
    assert sum(f.outcome is Outcome.PASSED for f in findings) >= 3

"""The self-test in a real container: the cpu image shows what it can do, and liars get nowhere."""

from __future__ import annotations

import json
import subprocess

import pytest
from conftest import SPEEDRUN, left_of

from kit.core.facts import facts_root
from kit.core.home import default_store
from kit.core.store import Store
from kit.diagnose.imagetest import run as imagetest
from kit.diagnose.imagetest.report import CHECKS, SelfTestOutcome
from kit.sandbox.runtime.runc import Runc

pytestmark = [pytest.mark.container, pytest.mark.network]

NOT_HERE = {"triton", "custom-operator", "nccl", "triton-kernel"}
"""What a CPU image cannot show."""


def images_test(era: str, *more: str) -> tuple[int, dict, str]:
    """Run `speedrun image test --json` in runc."""
    command = [*SPEEDRUN, "image", "test", era, "--runtime", "runc", "--json", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


@pytest.fixture(scope="module")
def shown(cpu_image):
    return images_test("cpu")


def test_the_cpu_image_can_do_everything_that_needs_no_gpu(shown):
    code, report, err = shown
    outcomes = {c["id"]: c["outcome"] for c in report["checks"]}
    assert code == 0, (report, err)
    assert list(outcomes) == ["isolation", *CHECKS]
    assert {name for name, outcome in outcomes.items() if outcome == "skipped"} == NOT_HERE
    assert {outcome for name, outcome in outcomes.items() if name not in NOT_HERE} == {"passed"}


def test_the_report_names_the_committed_image(shown):
    _, report, _ = shown
    committed = (facts_root() / "images" / "cpu" / "digest").read_text()
    assert report["config"] in committed and report["manifest"] in committed
    assert report["runtime"] == "runc"


@pytest.fixture
def replaced(cpu_image, monkeypatch, tmp_path):
    """Run the self-test with another script in the guest; return every check by its id."""

    def run(script: str, **options):
        path = tmp_path / "selftest.py"
        path.write_text(script)
        monkeypatch.setitem(imagetest.SCRIPTS, CHECKS, (path,))
        bench = imagetest.SelfTestContext(facts_root() / "images", Store(default_store()), [])
        tested = imagetest.selftest("cpu", Runc(), bench, **options)
        return tested, {c.id: c for c in tested.checks}

    return run


FORGED = """
import json, os
for name in {names}:
    print(json.dumps(dict(check=name, outcome="passed", detail="trust me", seconds=0.1, versions=dict())))
{end}
"""


def test_a_report_of_success_with_wrong_versions_fails(replaced):
    tested, checks = replaced(FORGED.format(names=CHECKS, end=""))
    assert not tested.passed
    bad = {name for name, check in checks.items() if check.outcome is SelfTestOutcome.FAILED}
    assert bad == {"python", "packages", "numpy", "torch"}
    assert "torch: not installed" in checks["packages"].detail


def test_a_guest_that_dies_in_the_middle_fails_with_its_last_error_line(replaced):
    end = "import sys; sys.stderr.write('boom\\n'); sys.stderr.flush(); os._exit(7)"
    tested, checks = replaced(FORGED.format(names=CHECKS[:3], end=end))
    assert not tested.passed
    assert "boom" in checks["guest"].detail and "exited with code 7" in checks["guest"].detail
    assert checks["report"].detail.endswith(f"ends before the check {CHECKS[3]}")
    assert checks["gloo"].detail == "no answer"


def test_a_guest_that_prints_beyond_the_limit_fails(replaced):
    tested, checks = replaced(FORGED.format(names=[*CHECKS, "gloo"], end=""))
    assert not tested.passed and "unexpected line after the last check" in checks["report"].detail


def test_a_cancelled_self_test_leaves_nothing_behind(replaced, monkeypatch):
    ids: list[str] = []
    fresh = imagetest.new_run_id
    monkeypatch.setattr(imagetest, "new_run_id", lambda n: ids.append(fresh(n)) or ids[-1])
    asked = iter([False] * 20)
    script = "import time; print('{}', flush=True); time.sleep(600)"
    tested, checks = replaced(script, cancelled=lambda: next(asked, True))
    assert tested.cancelled and not tested.passed
    assert tested.seconds < 600 and "teardown" not in checks
    assert ids and left_of(ids[0]) == []

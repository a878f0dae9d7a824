"""`eval --quick` runs a few steps in the runtime, says that this is no result, and writes no run."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from fake_guest import FakeRuntime, PipeGuest, Stderr

from kit.cli import run
from kit.cli.quick import NO_RESULT
from kit.evaluate.quick import STEPS, TARGET, _spec, try_quickly
from kit.sandbox.supervise import RunCallbacks
from kit.values.run_result import RunStatus

LINE = b"step:%d/160 val_loss:5.5452 train_time:1ms step_avg:0.10ms\n"
TRAIN = b"step:%d/160 train_time:1ms step_avg:0.10ms\n"
STEP = 'print(f"step:{n}/160 train_time:1ms step_avg:0.10ms", flush=True)'
ON_RANK_0 = 'import os, sys\nif os.environ["RANK"] != "0": sys.exit()\n'


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Logs of trials go below the test's directory."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def trial(ready, script, callbacks=None, **guest):
    found, _ = ready
    runtime = FakeRuntime(lambda: PipeGuest(script, **guest))
    return try_quickly(replace(found, plan=replace(found.plan, runtime=runtime)), callbacks or RunCallbacks())


def test_it_ends_after_a_few_steps(ready, temporary):
    done = trial(ready, [LINE % 0, *(TRAIN % n for n in range(1, STEPS + 1)), 600.0])
    assert (done.is_ok, done.is_enough, done.result.status) == (True, True, RunStatus.CANCELLED)
    assert (done.last.step, done.val_loss) == (STEPS, 5.5452)
    assert done.log.is_relative_to(temporary) and done.log.read_bytes().startswith(LINE % 0)


def test_it_ends_after_two_validations_of_a_script_without_training_lines(ready):
    done = trial(ready, [LINE % 0, LINE % 1, 600.0])
    assert done.is_ok and done.is_enough and done.last.step == 1


def test_a_script_that_ends_before_that_is_ok(ready):
    done = trial(ready, [LINE % 0])
    assert (done.is_ok, done.is_enough, done.result.status) == (True, False, RunStatus.COMPLETED)


@pytest.mark.parametrize(
    ("script", "code", "status"),
    [
        ([LINE % 0, Stderr(b"Traceback")], 1, RunStatus.CRASHED),
        ([LINE % 0, TRAIN % 1], 1, RunStatus.CRASHED),
        ([b"hello\n"], 0, RunStatus.COMPLETED),
    ],
)
def test_a_crash_or_a_script_without_lines_is_not_ok(ready, script, code, status):
    done = trial(ready, script, exit_code=code)
    assert not done.is_ok
    assert done.result.status in (status, RunStatus.CRASHED)


def test_an_interrupt_is_not_ok(ready):
    done = trial(ready, [LINE % 0, 600.0], RunCallbacks(cancelled=lambda: True))
    assert (done.is_ok, done.is_enough, done.result.status) == (False, False, RunStatus.CANCELLED)


def test_the_guest_gets_the_runs_own_spec_and_the_launcher(ready, tmp_path):
    found, _ = ready
    contained = replace(
        found, plan=replace(found.plan, runtime=type("R", (FakeRuntime,), {"contains": True})(None))
    )
    spec = _spec(contained, tmp_path)
    assert spec.argv[1:6] == ("-S", str(TARGET), "2", "29500", "train_gpt2.py")
    assert spec.argv[6:] == found.plan.script_args
    same = replace(spec, argv=found.spec.argv, mounts=found.spec.mounts)
    assert same == found.spec and spec.mounts[:-1] == found.spec.mounts


@pytest.fixture
def evaluate(tmp_path, capsys):
    def call(code: str, *more: str, profile: str = "smoke"):
        agent = tmp_path / "agent"
        agent.mkdir(exist_ok=True)
        (agent / "train_gpt2.py").write_text(code)
        argv = ["eval", "--record", "3", "--profile", profile, "--submission", str(agent), "--quick"]
        argv += ["--runtime", "host", "--python", sys.executable, "--out", str(tmp_path / "runs")]
        argv += ["--store", str(tmp_path / "store"), "--keys", str(tmp_path / "keys"), *more]
        return run(argv), capsys.readouterr()

    return call


def test_the_command_says_that_it_gives_no_result(evaluate, tmp_path):
    code, said = evaluate(f"{ON_RANK_0}for n in range(1000): {STEP}\nimport time; time.sleep(600)")
    assert code == 0, said.err
    assert said.err.splitlines()[0] == NO_RESULT and said.err.splitlines()[-1] == f"warning: {NO_RESULT}"
    assert "ok: the script ran to step " in said.err
    assert Path(said.out.strip()).read_text().startswith("step:0/160 ")
    assert not (tmp_path / "runs").exists() and not (tmp_path / "keys").exists()


def test_a_crash_exits_with_1_and_shows_the_traceback(evaluate):
    code, said = evaluate("raise RuntimeError('shapes differ')", "--json")
    assert code == 1
    assert "RuntimeError: shapes differ" in said.err and "FAILED crashed" in said.err
    answer = json.loads(said.out)
    assert (answer["ok"], answer["is_result"], answer["status"]) == (False, False, "crashed")


def test_a_script_whose_lines_do_not_count_exits_with_1_and_says_why(evaluate):
    code, said = evaluate(f"{ON_RANK_0}print('step:0/20 val_loss:10.8 train_time:0ms step_avg:7ms')")
    assert code == 1
    assert "step_avg needs a decimal point" in said.err
    assert "FAILED the script ended without a line that counts" in said.err


@pytest.mark.parametrize(
    ("more", "profile", "said"),
    [
        ((), "full", "--quick needs the smoke profile"),
        (("--runs", "2"), "smoke", "--quick makes one run and no audit"),
        (("--interleave",), "smoke", "--quick makes one run and no audit"),
        (("--audit", "canary"), "smoke", "--quick makes one run and no audit"),
    ],
)
def test_what_a_trial_cannot_be_is_refused(evaluate, more, profile, said):
    code, shown = evaluate("print(1)", *more, profile=profile)
    assert code == 2 and said in shown.err and "hint: " in shown.err


def test_logs_of_old_trials_are_removed_and_nothing_else(ready, temporary):
    made = [temporary / name for name in ("speedrun-quick-old", "speedrun-quick-new", "another-old")]
    for folder in made:
        folder.mkdir()
        (folder / "guest.log").write_text("x")
    (temporary / "speedrun-quick-link").symlink_to(made[2])
    for folder in (made[0], made[2]):
        os.utime(folder, (1, 1))
    trial(ready, [LINE % 0])
    assert [folder.exists() for folder in made] == [False, True, True] and (made[2] / "guest.log").exists()

"""`eval` prints stages, progress, audit, verdict and files for a person, on a terminal and elsewhere."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from kit.audit.baseline import RunTimings
from kit.cli import live, machine, result_lines, series_live
from kit.cli.meter import Meter, duration
from kit.cli.stderr import SILENT_S, STDERR, Stderr
from kit.evaluate.run import Evaluation
from kit.result.appraisal import verdict
from kit.result.predicate import CompileCache, Outcome, Severity
from kit.sandbox.folder import RunFolder
from kit.sandbox.isolation_probe import IsolationResult, ProbeCheck
from kit.series.record import Arm, Slot
from kit.values.profile import Profile
from kit.values.run_result import Enforcement, Point, RunStatus
from kit.values.run_spec import Phase, RuntimeName

LOGS = Path(__file__).parents[2] / "assets" / "guest_logs"


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The clock of the command's stderr, which has just started; only the test looks at it."""
    clock = Clock()
    monkeypatch.setattr("kit.cli.stderr.SILENT_S", SILENT_S)
    monkeypatch.setattr("kit.cli.stderr.LOOK_S", threading.TIMEOUT_MAX)
    monkeypatch.setattr(STDERR, "_clock", clock)
    STDERR.start_clock()
    yield clock
    STDERR.close()


@pytest.fixture
def ended(make, tmp_path, monkeypatch):
    """Return the lines that `close` prints for the sample run with some fields of its predicate replaced."""
    folder = tmp_path / "runs" / "r03-20260101T000000Z-00000000"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def close(capsys, log="", verbose=False, load=None, **changes):
        (folder / "guest.log").write_text(log)
        p = replace(make.predicate(make.HERE), **{k: v for k, v in changes.items() if k != "run"})
        p = replace(p, run=replace(p.run, **changes.get("run", {})))
        found = verdict.judge(p.run.status, p.claims, p.task.target_val_loss, p.audit.checks)
        p = replace(p, score=replace(p.score, verdict=found))
        p = replace(p, score=replace(p.score, unranked_because=verdict.ranking_blockers(p)))
        timings = RunTimings.__new__(RunTimings)
        result_lines.close(Evaluation(p, folder / "result.json", timings), verbose, load)
        return capsys.readouterr().err

    return close


def failing(p, **severities):
    """Return the sample's audit with checks that failed."""
    checks = tuple(
        replace(c, severity=severities[c.id], outcome=Outcome.FAILED, detail="line 3: adds a socket")
        if c.id in severities
        else c
        for c in p.audit.checks
    )
    return replace(p.audit, checks=checks)


def test_a_run_that_reached_its_target(ended, capsys):
    assert ended(capsys) == (
        "audit: 28 checks passed, 1 skipped\n"
        "result: reached - val_loss 3.2790 <= target 3.28; train time 5.0 s (claimed), wall time 10.0 s\n"
        "not ranked: smoke profile\n"
        "log:    runs/r03-20260101T000000Z-00000000/guest.log\n"
        "bundle: runs/r03-20260101T000000Z-00000000/result.json\n"
    )


def test_a_run_that_missed_it_with_a_warning(ended, capsys, make):
    p = make.predicate(make.HERE)
    audit = failing(p, **{"source.size": Severity.WARNING})
    task = replace(p.task, target_val_loss=3.2)
    assert ended(capsys, audit=audit, task=task).splitlines()[:3] == [
        "audit: 27 checks passed, 1 skipped, 1 warning",
        "warning: source.size: line 3: adds a socket",
        "result: missed - val_loss 3.2790 > target 3.2; train time 5.0 s (claimed), wall time 10.0 s",
    ]


LATE = {"status": RunStatus.TIMED_OUT, "ended_in": Phase.WARMUP, "clock": "warmup", "exit_code": None}


@pytest.mark.parametrize(
    ("now", "hint"),
    [
        (2.25, "this machine is busy: run again when other programs have ended, or with"),
        (0.25, "if the script only needs more time on this machine:"),
    ],
)
def test_a_missed_deadline_shows_phases_load_and_flag(ended, capsys, monkeypatch, make, now, hint):
    monkeypatch.setattr(result_lines, "load_per_core", lambda: now)
    lines = ended(
        capsys, load=now, run={**LATE, "reason": "the warmup deadline passed at 10.0 s"}
    ).splitlines()
    run = make.predicate(make.HERE).run
    limit = run.deadlines.warmup_s
    phases = next(line for line in lines if line.startswith("phases: "))
    assert phases.endswith(f"; missed: --warmup-deadline, {limit:g} s") and "warm-up" in phases
    assert f"load average per core: {now:.1f} at the start, {now:.1f} at the end" in lines
    assert f"hint: {hint} --warmup-deadline {3 * limit:.0f}" in lines


def test_only_a_deadline_is_explained_as_one(ended, capsys, monkeypatch):
    monkeypatch.setattr(result_lines, "load_per_core", lambda: None)
    text = ended(capsys, run={**LATE, "status": RunStatus.STALLED, "clock": "stall", "reason": "x"})
    assert "missed: --stall-deadline" in text and "load average" not in text
    assert "deadline" not in ended(capsys, run={"status": RunStatus.CRASHED, "exit_code": 1, "reason": "x"})
    assert "deadline" not in ended(capsys)


def test_the_load_is_of_the_whole_machine_or_unknown(monkeypatch):
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (6.0, 1.0, 1.0))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 4)
    assert machine.load_per_core() == 1.5
    monkeypatch.delattr(machine.os, "getloadavg")
    assert machine.load_per_core() is None


def test_a_run_of_a_series_says_near_misses_and_missed_deadlines(make, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(series_live, "load_per_core", lambda: 3.0)
    (tmp_path / "guest.log").write_text(line := "step:0/20 val_loss:10.8258 train_time:0ms step_avg:1ms\n")
    (tmp_path / "stamps").write_text(f'[1,"o",{len(line)},1]\n')
    p = make.predicate(make.HERE)
    p = replace(p, run=replace(p.run, **LATE, reason="late"), claims=replace(p.claims, **NO_CLAIMS))
    shown = series_live._ShownRuns(lambda: False)
    shown.listen(SimpleNamespace(terms=None))
    outcome = Evaluation(p, tmp_path / "result.json", RunTimings.__new__(RunTimings))
    shown.tell_end(Slot("r1", "00", Arm.CANDIDATE, "0" * 64), outcome)
    text = capsys.readouterr().err
    assert "candidate: timed_out: late; " in text and "load average per core: 3.0 at the start" in text
    assert "warning: 1 line looks like a claim but is not: step_avg needs a decimal point" in text
    shown.tell_end(Slot("r1", "00", Arm.CANDIDATE, "0" * 64), None)
    assert "interrupted" in capsys.readouterr().err


NO_CLAIMS = {
    "steps": None, "final_step": None, "final_val_loss": None, "train_time_ms": None, "val_points": (),
    "val_points_printed": 0,
}  # fmt: skip


def test_a_run_without_claims_says_which_lines_nearly_are(ended, capsys, make, tmp_path):
    line = "step:0/20 val_loss:10.8258 train_time:0ms step_avg:7ms\n"
    stamps = f'[1,"o",{len(line)},1]\n[2,"o",{len(line)},1]\n[3,"o",6,1]\n'
    next((tmp_path / "runs").iterdir()).joinpath("stamps").write_text(stamps)
    claims = replace(make.predicate(make.HERE).claims, **NO_CLAIMS)
    lines = ended(capsys, line * 2 + "hello\n", claims=claims).splitlines()
    assert lines[:2] == [
        "warning: 2 lines look like claims but are not: step_avg needs a decimal point",
        "hint: print lines such as 'step:125/5100 val_loss:4.5156 train_time:17750ms step_avg:142.00ms'",
    ]
    assert "result: failed - the script printed no validation line" in lines
    assert "look like" not in ended(capsys, line * 2 + "hello\n")


def test_a_run_without_claims_and_without_stamps_only_says_that_it_failed(ended, capsys, make):
    claims = replace(make.predicate(make.HERE).claims, **NO_CLAIMS)
    assert "look like" not in ended(capsys, "step:0/20 val_loss:1\n", claims=claims)


def test_a_refused_run_names_the_rules_that_it_broke(ended, capsys, make):
    p = make.predicate(make.HERE)
    audit = failing(p, **{"source.network": Severity.FATAL, "source.data": Severity.FATAL})
    assert ended(capsys, audit=audit).splitlines()[:4] == [
        "audit: 26 checks passed, 1 skipped, 2 FAILED",
        "FAILED source.data: line 3: adds a socket",
        "FAILED source.network: line 3: adds a socket",
        "result: refused - source.data and 1 more check failed, so the claimed loss does not count",
    ]


def test_a_crashed_run_shows_the_guests_own_traceback(ended, capsys):
    crashed = {"status": RunStatus.CRASHED, "reason": "the guest exited with 1", "ended_in": Phase.TRAINING}
    lines = ended(capsys, (LOGS / "two-ranks-marked.log").read_text(), run=crashed).splitlines()
    assert lines == [
        "first traceback in guest.log (ranks 0, 1):",
        "  | Traceback (most recent call last):",
        '  |   File "/workspace/train_gpt2.py", line 25, in <module>',
        "  |     main()",
        '  |   File "/workspace/train_gpt2.py", line 22, in main',
        "  |     load(step)",
        '  |   File "/workspace/train_gpt2.py", line 10, in load',
        '  |     raise RuntimeError(f"The size of tensor a (768) must match the size of '
        'tensor b (512) at step {step}")',
        "  | RuntimeError: The size of tensor a (768) must match the size of tensor b (512) at step 3",
        "audit: 28 checks passed, 1 skipped",
        "result: failed - crashed in training after 10.0 s: the guest exited with 1",
        "not ranked: smoke profile",
        "log:    runs/r03-20260101T000000Z-00000000/guest.log",
        "bundle: runs/r03-20260101T000000Z-00000000/result.json",
    ]


@pytest.mark.parametrize(
    "error",
    [
        "AssertionError: Torch not compiled with CUDA enabled",
        "RuntimeError: Found no NVIDIA driver on your system.",
        "RuntimeError: Distributed package doesn't have NCCL built in",
        "ModuleNotFoundError: No module named 'triton'",
        "RuntimeError: Tried to instantiate dummy base class Event",
    ],
)
def test_a_smoke_run_that_crashed_for_want_of_cuda_says_what_to_do(ended, capsys, make, error):
    crashed = {"status": RunStatus.CRASHED, "reason": "the guest exited with 1", "ended_in": Phase.START}
    log = f'Traceback (most recent call last):\n  File "/workspace/train_gpt2.py", line 1\n{error}\n'
    hint = "hint: the smoke profile runs on CPUs: use --profile full"
    assert hint in ended(capsys, log, run=crashed)
    task = replace(make.predicate(make.HERE).task, profile=Profile.FULL)
    assert hint not in ended(capsys, log, run=crashed, task=task)
    assert hint not in ended(capsys, log.replace(error, "ValueError: CUDA"), run=crashed)


def test_a_run_that_timed_out_without_a_traceback_shows_its_last_lines(ended, capsys):
    late = {"status": RunStatus.TIMED_OUT, "reason": "the warmup deadline passed at 2.0 s", "clock": "warmup"}
    lines = ended(capsys, "compiling\n\x1b[2Jstill\n", run={**late, "ended_in": Phase.WARMUP}).splitlines()
    assert lines[:3] == ["last lines of guest.log:", "  | compiling", "  | \N{REPLACEMENT CHARACTER}[2Jstill"]
    assert "result: failed - timed out in warm-up after 10.0 s: the warmup deadline passed at 2.0 s" in lines


def test_a_run_that_printed_nothing_says_so(ended, capsys):
    crashed = {"status": RunStatus.CRASHED, "reason": "the guest exited with 3"}
    assert "guest.log is empty: the script printed nothing" in ended(capsys, "", run=crashed)


def test_a_full_run_says_why_it_is_not_ranked(ended, capsys, make):
    task = replace(make.predicate(make.HERE).task, profile=Profile.FULL)
    (line,) = [x for x in ended(capsys, task=task).splitlines() if x.startswith("not ranked: ")]
    assert "smoke" not in line and "; " in line


def test_verbose_lists_the_checks_that_passed_or_were_skipped(ended, capsys):
    lines = ended(capsys, verbose=True).splitlines()
    assert lines[0] == "audit: 28 checks passed, 1 skipped"
    assert sum(line.startswith("  passed   ") for line in lines) == 28
    assert "  skipped  canary.to_end: not asked for" in lines


def plan(profile=Profile.SMOKE, blockers=(), contains=True, cache="cold"):
    terms = SimpleNamespace(profile=profile, ranking_blockers=blockers, gpus=0)
    runtime = SimpleNamespace(name="runc", contains=contains)
    record = SimpleNamespace(name="3")
    return SimpleNamespace(
        record=record, terms=terms, runtime=runtime, era="cpu", compile_cache=CompileCache(cache)
    )


def probe(*failed):
    checks = [ProbeCheck(f"check-{n}", True, "") for n in range(20 - len(failed))]
    enforcement = Enforcement(RuntimeName.RUNC, "1", True, None, ("memory",) if failed else ())
    return IsolationResult(
        (*checks, *(ProbeCheck(name, False, "it answered") for name in failed)), enforcement, 0.5
    )


def run(clock):
    """Play a short run to a `Live`."""
    shown = live.Live(plan())
    shown.reserved(RunFolder(Path("runs/r03-20260101T000000Z-00000000")))
    clock.now += 0.5
    shown.probed(probe())
    clock.now += 1.5
    shown.phase(Phase.START, 0.0)
    clock.now += 2
    shown.phase(Phase.WARMUP, 2.0)
    shown.point(Point(0, 160, 5.5452, 0, 1))
    clock.now += 2
    shown.phase(Phase.TRAINING, 4.0)
    for step in range(1, 80):
        shown.point(Point(step, 160, None, 100 * step, 1))
    clock.now += 10
    STDERR.repeat()
    shown.phase(Phase.TEARDOWN, 14.0)
    shown.point(Point(160, 160, 3.5111, 12_000, 1))
    shown.tick()
    clock.now += 0.5
    shown.auditing()
    shown.rerunning("canary-uniform")
    shown.rerun_point(Point(40, 160, 5.6, 0, 1))


def test_stages_of_a_run_without_a_terminal(clock, capsys, monkeypatch):
    monkeypatch.setattr(live, "SHOWN_EVERY_S", 0.0)
    run(clock)
    assert capsys.readouterr().err == (
        "run r03-20260101T000000Z-00000000: record 3, profile smoke (never ranked), runtime runc, image cpu\n"
        "[  0.0 s] check isolation\n"
        "isolation: 20 of 20 checks passed (run inside the container)\n"
        "[  2.0 s] start (waiting for the first line)\n"
        "[  4.0 s] warm-up\n"
        "[  4.0 s] step 0/160  val_loss 5.5452  train time 0.0 s\n"
        "[  6.0 s] training\n"
        "[ 16.0 s] still running: step 79/160, val_loss 5.5452\n"
        "[ 16.0 s] step 160/160  val_loss 3.5111  train time 12.0 s\n"
        "[ 16.0 s] teardown\n"
        "[ 16.5 s] audit\n"
        "[ 16.5 s] audit: run canary-uniform\n"
    )


def without_values(line):
    """Return a line without what differs between two runs."""
    line = re.sub(r"r03-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}", "RUN", line)
    return re.sub(r"[0-9]+(\.[0-9]+)?", "N", re.sub(r"^\[ *", "[", line))


def test_the_readme_shows_what_a_run_prints(clock, ended, capsys, monkeypatch):
    monkeypatch.setattr(live, "SHOWN_EVERY_S", 0.0)
    run(clock)
    printed = capsys.readouterr().err + ended(capsys)
    printed += "[  0.0 s] prepare data and image\naudit: 30 checks passed\n"
    known = set(map(without_values, printed.splitlines()))
    page = (Path(__file__).parents[3] / "README.md").read_text()
    block = re.search(r"\$ make eval RECORD=3 PROFILE=smoke.*?\n(.*?)```", page, re.DOTALL)[1]
    *shown, answer = [line for line in block.splitlines() if line != "..."]
    assert [line for line in shown if without_values(line) not in known] == []
    assert shown[-1] == f"bundle: {answer}" and any(line.startswith("result: reached - ") for line in shown)


def test_failed_isolation_and_reasons_against_a_rank_are_failures_and_warnings(clock, capsys):
    shown = live.Live(plan(Profile.FULL, ("data: unpinned",)))
    shown.reserved(RunFolder(Path("runs/r03-20260101T000000Z-00000000")))
    shown.probed(probe("network"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "warning: this run will not be ranked: data: unpinned"
    assert lines[3:] == [
        "isolation: 19 of 20 checks passed (run inside the container)",
        "FAILED network: it answered",
        "warning: not enforced on this machine: memory",
    ]


def test_a_warm_run_warns_that_it_is_not_ranked(clock, capsys):
    shown = live.Live(plan(Profile.FULL, cache="warm"))
    shown.reserved(RunFolder(Path("runs/r03-20260101T000000Z-00000000")))
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "warning: this run will not be ranked: the run started with a warm compile cache"


def test_no_silence_is_longer_than_ten_seconds(clock, capsys):
    STDERR.stage("prepare data and image")
    for _ in range(120):
        clock.now += 0.25
        STDERR.repeat()
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "[  9.0 s] still running: prepare data and image"
    times = [float(re.match(r"\[ *([0-9.]+) s\]", line)[1]) for line in lines]
    assert max(b - a for a, b in zip(times, [*times[1:], 30.0], strict=True)) <= 10


def test_nothing_is_repeated_after_the_end(clock, capsys):
    STDERR.stage("audit")
    STDERR.close()
    clock.now += 60
    STDERR.repeat()
    assert capsys.readouterr().err == "[  0.0 s] audit\n"


def test_a_thread_repeats_what_goes_on(monkeypatch, capfd):
    monkeypatch.setattr("kit.cli.stderr.SILENT_S", 0.0)
    monkeypatch.setattr("kit.cli.stderr.LOOK_S", 0.01)
    stderr = Stderr()
    stderr.show("asking pip")
    until = time.monotonic() + 60
    while not (text := capfd.readouterr().err) and time.monotonic() < until:
        time.sleep(0.02)
    stderr.close()
    assert text.startswith("still running: asking pip\n")


def test_a_transfer_shows_rate_and_remaining_time(clock, capsys):
    meter = Meter(clock=clock)
    for megabyte in range(0, 401, 4):
        meter("fetch cpu", megabyte * 10**6, 400 * 10**6)
        clock.now += 0.25
    meter("fetch cpu", 400 * 10**6, 400 * 10**6)
    assert capsys.readouterr().err.splitlines() == [
        "[  9.0 s] still running: fetch cpu, 144.0 MB of 400.0 MB, 16.0 MB/s, 16 s left",
        "[ 18.0 s] still running: fetch cpu, 288.0 MB of 400.0 MB, 16.0 MB/s, 7 s left",
        "[ 25.0 s] fetch cpu: 400.0 MB in 25.0 s (16.0 MB/s)",
    ]


def test_a_resumed_transfer_does_not_count_what_was_there(clock, capsys):
    meter = Meter(clock=clock)
    meter("a.whl", 300_000_000, 400_000_000)
    clock.now += 10
    meter("a.whl", 400_000_000, 400_000_000)
    assert capsys.readouterr().err == "[ 10.0 s] a.whl: 400.0 MB in 10.0 s (10.0 MB/s)\n"


def test_other_things_than_bytes_are_counted(clock, capsys):
    meter = Meter(count=True, clock=clock)
    meter("check results", 0, 40)
    clock.now += 10
    meter("check results", 10, 40)
    meter("check results", 40, 40)
    assert capsys.readouterr().err.splitlines() == [
        "[ 10.0 s] still running: check results, 10 of 40, 30 s left",
        "[ 10.0 s] check results: 40 in 10.0 s",
    ]


def test_work_without_a_total_is_named_once(clock, capsys):
    meter = Meter(clock=clock)
    meter("link the root file system", 0, 0)
    meter("link the root file system", 0, 0)
    assert capsys.readouterr().err == "[  0.0 s] link the root file system\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (3720, "1 h 2 min")]
)
def test_remaining_times_have_units(seconds, text):
    assert duration(seconds) == text


PROGRAM = """
import sys
from kit.cli.meter import Meter
from kit.cli.stderr import STDERR
from kit.cli.terminal import note, say, warn
STDERR.start_clock()
STDERR.stage("prepare data and image")
Meter()("fetch cpu", 1_000_000, 4_000_000)
sys.stdin.readline()
STDERR.stage("training")
STDERR.show("step 45/128", 45, 128, "val_loss 4.1820")
sys.stdin.readline()
note("step 64/128")
warn("look at this")
say("answer")
"""
"""It goes on at a line on stdin."""


def on_a_terminal(program, *shown, **env):
    """
    Run a program on a pseudo-terminal; return all that it wrote there.

    Each time that a text was `shown`, the program gets a line on stdin; without texts stdin is at its end.
    """
    leader, follower = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **env}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=follower, stderr=follower, env=env
    )
    os.close(follower)
    written, waits = b"", list(shown)
    until = time.monotonic() + 120
    with process.stdin as stdin:
        if not waits:
            stdin.close()
        while time.monotonic() < until and select.select([leader], [], [], 120)[0]:
            try:
                data = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            written += data
            if waits and waits[0] in written.decode(errors="replace"):
                del waits[0]
                stdin.write(b"\n")
                stdin.flush()
    os.close(leader)
    assert process.wait(120) == 0, written
    assert waits == [], written
    return written.decode()


def final_screen(written):
    """Return the lines that stay on the terminal; the program moves up and erases lines, and nothing else."""
    lines, row = [""], 0
    for part in re.split(r"(\r\n|\r|\x1b\[2K|\x1b\[1A|\x1b\[[0-9;?]*[a-zA-Z])", written):
        if part == "\r\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part and not part.startswith("\x1b") and part != "\r":
            lines[row] += part
    return [re.sub(r"^\[ *[0-9.]+ s\]", "[T]", line).rstrip() for line in lines if line.strip()]


def test_a_terminal_shows_one_live_line_and_keeps_the_others():
    written = on_a_terminal(PROGRAM, "1.0 MB of 4.0 MB", "val_loss 4.1820")
    assert final_screen(written) == [
        "[T] prepare data and image",
        "[T] training",
        "step 64/128",
        "warning: look at this",
        "answer",
    ]
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written)
    assert "1.0 MB of 4.0 MB" in plain
    assert re.search(r"\[ *[0-9.]+ s\] step 45/128 [\u2501\u2578\u257a]+ val_loss 4\.1820", plain)
    assert "\x1b[33mwarning: look at this" in written
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l"), "the cursor is shown again"


def test_a_dumb_terminal_gets_plain_lines():
    written = on_a_terminal(PROGRAM, TERM="dumb")
    assert "\x1b[?25l" not in written and "\x1b[2K" not in written
    assert "step 64/128\r\n" in written


def test_help_does_not_import_rich():
    code = "import sys; from kit.cli import run; run(['eval', '--help']); sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_upstreams_spread_is_advice_for_full_series_only(capsys):
    series_live._tell_power(3, Profile.FULL)
    assert "with probability 0.10" in capsys.readouterr().err
    series_live._tell_power(3, Profile.SMOKE)
    assert capsys.readouterr().err == ""

"""The supervisor against a guest made of pipes: no engine, real clocks in tenths of seconds."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import select
import threading
import time
from pathlib import Path

import pytest
from fake_guest import PipeGuest, Stderr

from kit.sandbox.supervise import CHUNK, RunCallbacks, supervise
from kit.values.deadlines import Deadlines
from kit.values.log import Grammar, read_run
from kit.values.run_result import RunStatus, Usage
from kit.values.run_spec import Limits, Phase, RunSpec

VAL = b"step:%d/10 val_loss:3.5000 train_time:%dms step_avg:1.00ms\n"


def run(tmp_path: Path, guest_of, untimed=0, watch=None, output=1 << 20, **deadlines):
    spec = RunSpec(
        run_id="t",
        image=None,
        submission=tmp_path,
        argv=("x",),
        env=(),
        limits=Limits(memory=1, output=output),
        deadlines=Deadlines(
            **{"start_s": 60, "warmup_s": 60, "stall_s": 60, "teardown_s": 60, "total_s": 60, **deadlines}
        ),
        untimed_steps=untimed,
    )
    guests = []

    def start():
        guests.append(guest_of())
        return guests[0]

    result = supervise(
        spec, start, tmp_path / "log", tmp_path / "stamps", Grammar.STEP, watch or RunCallbacks()
    )
    return result, guests[0]


def readings():
    """Return callbacks, and what makes a guest wait until so many of its claims were stamped."""
    points = []
    return RunCallbacks(point=points.append), lambda count: lambda: len(points) >= count


def test_a_guest_that_exits_with_0_is_completed_and_its_claims_are_stamped(tmp_path):
    watch, stamped = readings()
    result, _ = run(tmp_path, lambda: PipeGuest([VAL % (0, 0), stamped(1), 0.1, VAL % (10, 90)]), watch=watch)
    assert result.status is RunStatus.COMPLETED
    assert [p.step for p in result.points] == [0, 10]
    assert result.points[1].host_ns - result.points[0].host_ns >= 90_000_000
    assert result.exit_code == 0 and result.clock is None
    assert result.teardown.remains == ()


def test_a_kit_that_is_paused_reports_nothing_that_is_gone_by_then(tmp_path, monkeypatch):
    class Dying(PipeGuest):
        looks = 0

        def remains(self):
            self.looks += 1
            if self.looks > 1:
                return ()
            time.sleep(0.2)
            return ("thread",)

    monkeypatch.setattr("kit.sandbox.supervise.GONE_WITHIN_S", 0.1)
    result, _ = run(tmp_path, lambda: Dying([]))
    assert result.teardown.remains == ()


def test_no_file_stays_open_after_a_run(tmp_path):
    def open_files():
        found = set()
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # that of this list
                found.add((fd, os.readlink(f"/proc/self/fd/{fd}")))
        return found

    before = open_files()
    gc.disable()  # what a collection would close by chance
    try:
        run(tmp_path, lambda: PipeGuest([VAL % (10, 1)]))
        assert open_files() - before == set(), "what another test had open may be closed meanwhile"
    finally:
        gc.enable()


def test_a_guest_that_exits_otherwise_has_crashed_whatever_it_printed(tmp_path):
    result, _ = run(tmp_path, lambda: PipeGuest([VAL % (10, 1)], exit_code=3))
    assert (result.status, result.exit_code) == (RunStatus.CRASHED, 3)


@pytest.mark.parametrize(
    ("script", "deadline", "phase", "clock"),
    [
        ([600.0], {"start_s": 0.2}, Phase.START, "start"),
        ([b"hi\n", 600.0], {"warmup_s": 0.2}, Phase.WARMUP, "warmup"),
        ([VAL % (1, 1), 600.0], {"stall_s": 0.2}, Phase.TRAINING, "stall"),
        ([VAL % (10, 1), 600.0], {"teardown_s": 0.2}, Phase.TEARDOWN, "teardown"),
        ([VAL % (1, 1), 600.0], {"total_s": 0.2}, Phase.TRAINING, "total"),
    ],
)
def test_each_deadline_ends_the_guest_and_is_named(tmp_path, script, deadline, phase, clock):
    def start():
        guest = PipeGuest(script)
        if isinstance(script[0], bytes):  # it prints before the clock can end it
            select.select([guest.stdout], [], [], 60)
        return guest

    result, guest = run(tmp_path, start, **deadline)
    assert result.status is (RunStatus.STALLED if clock == "stall" else RunStatus.TIMED_OUT)
    assert (result.ended_in, result.clock) == (phase, clock)
    assert result.exit_code is None
    assert 0.2 <= result.wall_s < 300, "the guest sleeps for 600 s"
    assert guest.terminated == 0, "a deadline kills without asking"


def test_a_flood_of_lines_without_claims_does_not_move_the_stall_clock(tmp_path):
    flood = itertools.cycle([b"busy\n", 0.05])
    result, _ = run(tmp_path, lambda: PipeGuest(itertools.chain([VAL % (1, 1)], flood)), stall_s=0.3)
    assert result.status is RunStatus.STALLED


def test_too_much_output_ends_the_guest(tmp_path):
    result, _ = run(tmp_path, lambda: PipeGuest([b"x" * 1000 + b"\n", 600.0]), output=500)
    assert result.status is RunStatus.OUTPUT_LIMIT
    assert (tmp_path / "log").stat().st_size == result.output_bytes == 500


def test_too_much_output_just_before_the_exit_is_still_the_output_limit(tmp_path):
    result, _ = run(tmp_path, lambda: PipeGuest([VAL % (10, 1), b"x" * 1000 + b"\n"]), output=500)
    assert result.status is RunStatus.OUTPUT_LIMIT


def test_a_failed_run_with_an_oom_kill_is_out_of_memory(tmp_path):
    result, _ = run(tmp_path, lambda: PipeGuest([], exit_code=1, usage=Usage(1, 2)))
    assert result.status is RunStatus.OUT_OF_MEMORY


def test_an_oom_kill_that_the_run_survived_is_only_recorded(tmp_path):
    result, _ = run(tmp_path, lambda: PipeGuest([VAL % (10, 1)], usage=Usage(1, 2)))
    assert result.status is RunStatus.COMPLETED
    assert result.usage.oom_kills == 2


def test_cancelling_sends_sigterm_first(tmp_path):
    began = time.monotonic()
    watch = RunCallbacks(cancelled=lambda: time.monotonic() - began > 0.2)
    result, guest = run(tmp_path, lambda: PipeGuest([b"hi\n", 600.0]), watch=watch)
    assert result.status is RunStatus.CANCELLED
    assert guest.terminated == 1


def test_a_guest_that_ignores_sigterm_is_killed_after_the_grace(tmp_path):
    watch = RunCallbacks(cancelled=lambda: True)
    result, _ = run(tmp_path, lambda: PipeGuest([b"hi\n", 600.0], deaf=True), watch=watch)
    assert result.status is RunStatus.CANCELLED
    assert 0.9 < result.wall_s < 300, "the guest sleeps for 600 s"


class LateGuest(PipeGuest):
    """A guest that ignores that it was asked to end, and ends by itself a while after that."""

    def __init__(self, after_s: float, *more) -> None:
        super().__init__([lambda: self.terminated > 0, after_s, b"late\n", *more], deaf=True)


@pytest.mark.parametrize(("grace_s", "after_s", "printed"), [(0.0, 600.0, ""), (600.0, 0.2, "late\n")])
def test_a_guest_has_the_grace_that_its_caller_gives_it(tmp_path, grace_s, after_s, printed):
    asked = []
    watch = RunCallbacks(cancelled=lambda: True, grace_s=lambda: asked.append(1) or grace_s)
    result, _ = run(tmp_path, lambda: LateGuest(after_s), watch=watch, total_s=600)
    assert (result.status, result.exit_code) == (RunStatus.CANCELLED, None)
    assert (tmp_path / "log").read_text() == printed
    assert grace_s or len(asked) == 1, "it is killed at once"
    assert result.wall_s < 300


def test_a_caller_can_end_the_grace_that_it_gave(tmp_path):
    asked = []

    def grace_s():
        asked.append(1)
        return 60.0 if len(asked) < 5 else 0.0

    watch = RunCallbacks(cancelled=lambda: True, grace_s=grace_s)
    result, guest = run(tmp_path, lambda: PipeGuest([b"hi\n", 600.0], deaf=True), watch=watch)
    assert result.status is RunStatus.CANCELLED and guest.terminated == 1
    assert result.wall_s < 300, "the guest sleeps for 600 s"


def test_a_guest_that_prints_too_much_within_its_grace_is_killed(tmp_path):
    watch = RunCallbacks(cancelled=lambda: True, grace_s=lambda: 60.0)
    result, _ = run(tmp_path, lambda: LateGuest(0.1, 600.0), watch=watch, output=3)
    assert result.status is RunStatus.CANCELLED
    assert result.wall_s < 300, "the guest sleeps for 600 s"


def test_training_time_runs_from_the_end_of_the_warmup_to_the_last_validation(tmp_path):
    watch, stamped = readings()
    script = [VAL % (0, 0), stamped(1), 0.3, VAL % (5, 1), stamped(2), 0.3, VAL % (10, 1), stamped(3), 0.3]
    result, _ = run(tmp_path, lambda: PipeGuest(script), untimed=1, watch=watch)
    assert 0.25 < result.train_wall_s < result.wall_s - 0.5
    assert [t.phase for t in result.phases] == list(Phase)


def test_claims_on_stderr_are_not_claims(tmp_path):
    result, _ = run(tmp_path, lambda: PipeGuest([Stderr(VAL % (10, 1)), b"hi\n", 0.1]))
    assert result.points == ()
    assert result.output_bytes > 3


def test_what_a_guest_printed_last_is_kept_however_long_its_kill_takes(tmp_path, monkeypatch):
    monkeypatch.setattr("kit.sandbox.supervise.GONE_WITHIN_S", 0.0)
    ticked = threading.Event()
    guest = PipeGuest([ticked.is_set, b"last\n"])

    def tick():
        ticked.set()
        guest.join()

    result, _ = run(tmp_path, lambda: guest, watch=RunCallbacks(tick=tick))
    assert (result.status, (tmp_path / "log").read_text()) == (RunStatus.COMPLETED, "last\n")


class PassedOn(PipeGuest):
    """A guest that has ended at once, and whose output an engine passes on later."""

    def poll(self):
        return 0

    def remains(self):
        return ()

    def kill(self):
        pass


def test_output_that_an_engine_passes_on_after_the_guest_has_gone_is_kept(tmp_path):
    result, _ = run(tmp_path, lambda: PassedOn([0.5, b"first\n", 0.5, b"last\n"]))
    assert (result.status, (tmp_path / "log").read_text()) == (RunStatus.COMPLETED, "first\nlast\n")


def test_a_flood_of_claims_ends_the_guest_and_no_more_of_them_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("kit.sandbox.supervise.MAX_CLAIMS", 500)
    lines = [b"".join(VAL % (n + i, 0) for i in range(100)) for n in range(0, 5000, 100)]
    result, _ = run(tmp_path, lambda: PipeGuest([*lines, 600.0]))
    assert (result.status, result.reason) == (
        RunStatus.OUTPUT_LIMIT,
        "the guest printed more than 500 claims",
    )
    assert 500 < len(result.points) <= 500 + CHUNK // len(VAL % (0, 0)) + 1
    assert result.output_bytes == (tmp_path / "log").stat().st_size < 150_000
    assert len(read_run(tmp_path / "log", tmp_path / "stamps", Grammar.STEP)) == len(result.points)


def test_as_many_claims_as_are_allowed_are_no_flood(tmp_path, monkeypatch):
    monkeypatch.setattr("kit.sandbox.supervise.MAX_CLAIMS", 500)
    result, _ = run(tmp_path, lambda: PipeGuest([b"".join(VAL % (n, 0) for n in range(500))]))
    assert result.status is RunStatus.COMPLETED and len(result.points) == 500


def test_a_flood_of_short_lines_is_told_from_one_of_bytes(tmp_path):
    result, _ = run(tmp_path, lambda: PipeGuest([b"\n" * 40_000, 600.0]), output=64_000)
    assert (result.status, result.reason) == (
        RunStatus.OUTPUT_LIMIT,
        "the guest printed more than 2000 lines",
    )


def test_a_tick_comes_while_the_guest_prints_nothing(tmp_path):
    ticks = []
    watch = RunCallbacks(tick=lambda: ticks.append(1), cancelled=lambda: len(ticks) == 4)
    result, _ = run(tmp_path, lambda: PipeGuest([600.0]), watch=watch)
    assert result.status is RunStatus.CANCELLED and result.output_bytes == 0

"""One guest from start to end: what stands before it, what is left after it, what it printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_guest import FakeRuntime, PipeGuest, Stderr

from kit.core.errors import RunError
from kit.sandbox import processes
from kit.sandbox.folder import new_run_id
from kit.sandbox.run_guest import guest_directory, run_guest
from kit.sandbox.supervise import RunCallbacks
from kit.values.deadlines import Deadlines
from kit.values.log import Grammar
from kit.values.output import StoredOutput
from kit.values.run_result import RunStatus
from kit.values.run_spec import Limits, Phase, RunSpec

SCRIPT = [b"val loss 4.0\n", Stderr(b"a warning\n"), b"the end\n"]


@pytest.fixture
def spec(tmp_path):
    deadlines = Deadlines(start_s=60, warmup_s=60, stall_s=60, teardown_s=60, total_s=60)
    return RunSpec(new_run_id(3), None, tmp_path, ("x",), (), limits=Limits(memory=1), deadlines=deadlines)


@pytest.fixture
def scratch(tmp_path):
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def guest():
    return PipeGuest(SCRIPT)


def broken():
    raise RunError("no engine")


def watchdogs(run_id: str) -> list[int]:
    """The living watchdogs of a run, by their command lines."""
    lines = {pid: Path(f"/proc/{pid}/cmdline") for pid in processes.pids()}
    return [
        pid
        for pid, line in lines.items()
        if processes.is_alive(pid) and {b"kit.sandbox.watchdog", run_id.encode()} <= words_of(line)
    ]


def words_of(path: Path) -> set[bytes]:
    try:
        return set(path.read_bytes().split(b"\0"))
    except OSError:
        return set()


def test_what_the_guest_printed_is_read_by_stream(spec, scratch):
    with run_guest(FakeRuntime(guest), spec, scratch) as run:
        assert run.result.status is RunStatus.COMPLETED
        assert run.enforcement is PipeGuest.enforcement
        assert run.output.stdout() == b"val loss 4.0\nthe end\n"
        assert run.output.stderr_tail() == "a warning\n"
        assert sorted(run.output.tail().splitlines()) == ["a warning", "the end", "val loss 4.0"]
        assert all(piece.whole for piece in run.output.pieces())


def test_the_tail_of_a_long_output_is_its_end(spec, scratch):
    script = [b"x" * 1000 + b" end\n", Stderr(b"y" * 1000 + b"\xff\n")]
    with run_guest(FakeRuntime(lambda: PipeGuest(script)), spec, scratch) as run:
        assert len(run.output.tail()) <= 300
        assert run.output.stderr_tail() == "y" * 298 + "\ufffd\n"


def test_the_engine_works_in_the_directory_that_the_caller_made(spec, scratch):
    runtime = FakeRuntime(guest)
    with run_guest(runtime, spec, scratch) as run:
        assert runtime.directories == [scratch]
    assert run.output == StoredOutput(scratch / "log", scratch / "stamps")
    assert run.output.stdout(), "the caller's directory stays"


def test_a_directory_of_its_own_is_open_to_other_uids_and_is_there_for_the_block_alone(spec, scratch):
    runtime = FakeRuntime(guest)
    with run_guest(runtime, spec, scratch, prefix="probe-") as run:
        (directory,) = runtime.directories
        assert directory.parent == scratch and directory.name.startswith("probe-")
        assert directory.stat().st_mode & 0o777 == 0o755
        assert run.output.log.parent == directory
    assert list(scratch.iterdir()) == []


def test_output_that_is_kept_outlives_the_directory(spec, scratch, tmp_path):
    kept = StoredOutput(tmp_path / "baseline.log", tmp_path / "baseline.stamps")
    with run_guest(FakeRuntime(guest), spec, scratch, kept, prefix="rerun-") as run:
        pass
    assert run.output == kept and b"the end\n" in kept.stdout()
    assert list(scratch.iterdir()) == []


def test_a_guest_that_does_not_start_leaves_no_directory_and_no_watchdog(spec, scratch):
    runtime = FakeRuntime(broken)
    with (
        pytest.raises(RunError, match="no engine"),
        run_guest(runtime, spec, scratch, prefix="probe-", watched=True),
    ):
        pytest.fail("the block was entered")
    assert len(runtime.directories) == 1 and list(scratch.iterdir()) == []
    assert watchdogs(spec.run_id) == []


def test_a_block_that_fails_leaves_no_directory_and_no_watchdog(spec, scratch):
    with (
        pytest.raises(ZeroDivisionError),
        run_guest(FakeRuntime(guest), spec, scratch, prefix="probe-", watched=True),
    ):
        raise ZeroDivisionError
    assert list(scratch.iterdir()) == [] and watchdogs(spec.run_id) == []


def test_the_watchdog_stands_before_the_guest_starts_and_ends_after_the_block(spec, scratch):
    at_start = []

    def start():
        at_start.extend(watchdogs(spec.run_id))
        return guest()

    with run_guest(FakeRuntime(start), spec, scratch, watched=True):
        assert watchdogs(spec.run_id) == at_start
    assert len(at_start) == 1 and watchdogs(spec.run_id) == []


def test_no_guest_is_started_without_the_watchdog_that_was_wanted(spec, scratch):
    runtime = FakeRuntime(guest)
    runtime.reaper = lambda run_id: ("no-such-runtime", "-", run_id)
    with (
        pytest.raises(RunError, match="did not start"),
        run_guest(runtime, spec, scratch, prefix="rerun-", watched=True),
    ):
        pytest.fail("the block was entered")
    assert runtime.guests == [] and list(scratch.iterdir()) == []


def test_the_directory_is_removed_after_the_guest_is_gone(spec, scratch):
    directory_was_there = []

    class Closing(PipeGuest):
        def close(self):
            directory_was_there.append(runtime.directories[0].is_dir())
            super().close()

    runtime = FakeRuntime(lambda: Closing([b"up\n", 600.0], deaf=True))
    cancelled = RunCallbacks(cancelled=lambda: True)
    with run_guest(runtime, spec, scratch, callbacks=cancelled, prefix="rerun-") as run:
        assert run.result.status is RunStatus.CANCELLED and run.result.teardown.remains == ()
    assert directory_was_there == [True] and not runtime.directories[0].exists()


def test_callbacks_and_grammar_are_those_of_the_caller(spec, scratch):
    phases, losses = [], []
    callbacks = RunCallbacks(
        phase=lambda phase, _: phases.append(phase), point=lambda point: losses.append(point.val_loss)
    )
    with run_guest(FakeRuntime(guest), spec, scratch, None, Grammar.CLASSIC, callbacks) as run:
        assert [point.val_loss for point in run.result.points] == [4.0]
    assert phases[0] is Phase.START and losses == [4.0]
    with run_guest(FakeRuntime(guest), spec, scratch) as run:
        assert run.result.points == ()


def test_a_directory_for_a_guest_is_removed_with_all_that_is_in_it(tmp_path):
    with guest_directory(tmp_path, "speed-") as directory:
        (directory / "nothing").mkdir()
        (directory / "nothing" / "file").touch()
        assert directory.stat().st_mode & 0o777 == 0o755
    assert list(tmp_path.iterdir()) == []

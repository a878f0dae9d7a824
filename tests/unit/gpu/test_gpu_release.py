"""GPU memory is proved to be back, or what is not is named. All GPUs here are fake, and so is the clock."""

from __future__ import annotations

import pytest
from fake_gpus import FakeNvml, fake_inventory

from kit.core.digest import sha256_bytes
from kit.core.errors import RunError
from kit.gpu.nvml import GpuProcess
from kit.gpu.release import SLACK, GpuRelease, add_release, await_release
from kit.values.run_result import RunResult, RunStatus, Teardown, Usage
from kit.values.run_spec import GIB, MIB

BEFORE = fake_inventory(2)
HELD = fake_inventory(2, used=BEFORE.gpus[1].used + 20 * GIB)


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def released(*answers, within_s=5.0):
    clock = FakeClock()
    return await_release(BEFORE.gpus, FakeNvml(*answers), within_s, clock, clock.pause)


def test_memory_that_is_back_at_once_costs_no_wait():
    assert released(BEFORE) == GpuRelease(0.0, ())


def test_memory_that_comes_back_a_little_later_is_waited_for():
    done = released(HELD, HELD, HELD, BEFORE)
    assert done.remains == () and done.seconds == pytest.approx(0.3)


def test_memory_that_stays_is_named_after_the_deadline():
    done = released(HELD, within_s=2.0)
    assert done.remains == (f"{20 * GIB // MIB} MiB on GPU 1",)
    assert done.seconds == pytest.approx(2.0, abs=0.2)


def test_a_process_that_stays_is_named_although_its_memory_is_small():
    seen = fake_inventory(2, processes=(GpuProcess(99, MIB),))
    assert released(seen).remains == ("process 99 on GPU 1",)


def test_a_process_that_was_there_before_is_not_the_guests():
    before = fake_inventory(2, processes=(GpuProcess(99, MIB),))
    clock = FakeClock()
    assert await_release(before.gpus, FakeNvml(before), 1.0, clock, clock.pause).remains == ()


def test_what_the_driver_moves_by_itself_is_no_remains():
    within = fake_inventory(2, used=BEFORE.gpus[1].used + SLACK)
    assert released(within).remains == ()


def test_a_gpu_that_fell_off_the_bus_is_named():
    assert released(fake_inventory(1)).remains == ("GPU 1, which no longer answers",)


def test_a_driver_that_does_not_answer_has_not_shown_that_memory_is_back():
    assert released(RunError("the NVIDIA driver failed")).remains == (
        "GPU memory in an unknown state: the NVIDIA driver failed",
    )


def test_the_result_carries_what_remained_and_the_time_that_it_took():
    digest = sha256_bytes(b"")
    result = RunResult(
        "r03", RunStatus.TIMED_OUT, "why", None, "total", None, "2026-11-23T17:00:00+00:00", 1.0, None, (),
        (), 0, 0, Usage(), Teardown(0.25, ("process 1 (x)",)), digest, digest,
    )  # fmt: skip
    gone = add_release(result, GpuRelease(1.5, ("1024 MiB on GPU 0",))).teardown
    assert gone == Teardown(1.75, ("process 1 (x)", "1024 MiB on GPU 0"))

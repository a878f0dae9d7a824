"""Runs of one user wait for each other's GPUs, and for no others."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kit.sandbox.turn import InterruptedWait, is_taken, take_turn


def never() -> bool:
    return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "turns"


def test_one_run_at_a_time_has_a_gpu_and_a_waiting_one_can_be_stopped(folder: Path) -> None:
    order: list[str] = []
    owners: list[int | None] = []
    waits = threading.Event()

    def tell(pid: int | None) -> None:
        owners.append(pid)
        waits.set()

    def second() -> None:
        with take_turn(folder, ["GPU-1", "GPU-2"], never, tell) as waited:
            assert waited
            order.append("second")

    with take_turn(folder, ["GPU-0", "GPU-1"], never) as waited:
        assert not waited and is_taken(folder, ["GPU-1"]) and not is_taken(folder, ["GPU-2", "GPU-9"])
        with pytest.raises(InterruptedWait), take_turn(folder, ["GPU-1"], lambda: True):
            order.append("never")
        waiting = threading.Thread(target=second)
        waiting.start()
        assert waits.wait(60)
        order.append("first")
    waiting.join()
    assert (order, owners) == (["first", "second"], [os.getpid()])
    assert not is_taken(folder, ["GPU-0", "GPU-1", "GPU-2"])


def test_runs_on_other_gpus_do_not_wait(folder: Path) -> None:
    def fails(pid: int | None) -> None:
        raise AssertionError("it waited")

    with (
        take_turn(folder, ["GPU-0", "GPU-1"], never),
        take_turn(folder, ["GPU-2", "GPU-3"], never, fails),
        take_turn(folder, ["cpu"], never, fails),
    ):
        assert is_taken(folder, ["GPU-3"])


def test_many_runs_that_share_gpus_all_get_their_turn(folder: Path) -> None:
    """Locks taken in the order of the request would wait for each other here."""
    running: list[str] = []
    faults: list[list[str]] = []

    def work(names: list[str]) -> None:
        for _ in range(5):
            with take_turn(folder, names, never):
                running.append(names[0])
                faults.extend([list(running)] if len(running) > 1 else [])
                running.remove(names[0])

    threads = [threading.Thread(target=work, args=(names,)) for names in (["a", "b"], ["b", "a"], ["b"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads) and faults == []


def test_a_run_that_asks_again_at_once_comes_after_the_one_that_waits(folder: Path) -> None:
    """Otherwise a session with many runs would keep another one waiting, and spend its wall time."""
    order: list[str] = []
    running, waits, over = threading.Event(), threading.Event(), threading.Event()

    def greedy() -> None:
        while not over.is_set():
            with take_turn(folder, ["GPU-0"], never):
                order.append("greedy")
                running.set()
                waits.wait(60)

    def other() -> None:
        with take_turn(folder, ["GPU-0"], never, lambda pid: waits.set()):
            order.append("other")
            over.set()

    first = threading.Thread(target=greedy)
    first.start()
    assert running.wait(60)
    second = threading.Thread(target=other)
    second.start()
    second.join(120)
    over.set()
    first.join(60)
    assert order[:2] == ["greedy", "other"]


def test_a_killed_process_leaves_no_turn(folder: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from kit.sandbox.turn import take_turn\n"
        "with take_turn(Path(sys.argv[1]), ['GPU-0'], lambda: False):\n"
        "    print('has it', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"has it\n"
        assert is_taken(folder, ["GPU-0"])
        other.kill()
    with take_turn(folder, ["GPU-0"], never) as waited:
        assert not waited

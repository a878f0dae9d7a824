"""Run cells on this machine, a number of them at a time, each a process of `speedrun sweep cell`."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kit.core.errors import UsageError
from kit.sweep.folder import SweepFolder, cell_argv
from kit.sweep.grid import SweepCell

POLL_S = 0.2
GRACE_S = 120.0
"""Seconds that cells get to sign their records after an interrupt."""


class CellProcess(Protocol):
    """A started cell."""

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""

    def send_signal(self, sig: int) -> None:
        """Send a signal."""

    def kill(self) -> None:
        """Kill the process."""


StartCell = Callable[[SweepFolder, SweepCell, Mapping[str, str]], CellProcess]


@dataclass(frozen=True, slots=True)
class FinishedCell:
    """A cell's process that has exited."""

    cell: SweepCell
    code: int


def gpu_slots(gpus: Sequence[str], per_cell: int, parallel: int) -> tuple[str, ...]:
    """
    Return a value of CUDA_VISIBLE_DEVICES for each cell that may run at the same time.

    The values are empty if no cell uses GPUs. Raises `UsageError` if there are too few GPUs.
    """
    if per_cell == 0:
        return ("",) * parallel
    fitting = len(gpus) // per_cell
    if fitting < parallel:
        raise UsageError(
            f"{parallel} cells at a time need {parallel * per_cell} GPUs, and this machine shows {len(gpus)}",
            f"pass --parallel {fitting}" if fitting else "run on a machine with more GPUs",
        )
    return tuple(",".join(gpus[i * per_cell : (i + 1) * per_cell]) for i in range(parallel))


def run_cells(
    sweep: SweepFolder,
    cells: Sequence[SweepCell],
    slots: Sequence[str],
    cancelled: Callable[[], bool],
    finished: Callable[[FinishedCell], None],
    start: StartCell | None = None,
) -> bool:
    """
    Run cells, as many at a time as there are `slots`; return False if `cancelled` ended it.

    After a cancellation every running cell gets SIGTERM and time to sign its record. `finished` is called for
    each process that has exited, also one that failed: `speedrun sweep run` starts such a cell again.
    """
    begin = start or start_process
    waiting, running = list(cells), dict[str, tuple[int, SweepCell, CellProcess]]()
    free = list(range(len(slots)))
    while waiting or running:
        if cancelled():
            _stop([process for _, _, process in running.values()])
            for _, cell, process in running.values():
                finished(FinishedCell(cell, process.poll() or 0))
            return False
        while waiting and free:
            cell, slot = waiting.pop(0), free.pop(0)
            own = {"CUDA_VISIBLE_DEVICES": slots[slot]} if slots[slot] else {}
            running[cell.id] = (slot, cell, begin(sweep, cell, own))
        for name, (held, cell, process) in list(running.items()):
            code = process.poll()
            if code is not None:
                del running[name]
                free.append(held)
                finished(FinishedCell(cell, code))
        time.sleep(POLL_S)
    return True


def start_process(sweep: SweepFolder, cell: SweepCell, own: Mapping[str, str]) -> CellProcess:
    """Start the process of a cell in a session of its own; its output goes to the cell's log.txt."""
    folder = sweep.folder(cell).path
    folder.mkdir(parents=True, exist_ok=True)
    with Path(folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            cell_argv(sweep.path, cell),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **own},
            start_new_session=True,
        )


def _stop(processes: Sequence[CellProcess]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while any(p.poll() is None for p in processes) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    for process in processes:
        if process.poll() is None:
            process.kill()

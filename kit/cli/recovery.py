"""Close interrupted runs and series, and report each."""

from __future__ import annotations

from pathlib import Path

from kit.cli.terminal import note
from kit.evaluate.recovery import close_lost
from kit.series.recovery import close_lost_series

ELSEWHERE = "has no result; only the machine that started it can close it: speedrun doctor --fix"


def recover_runs(out: Path, keys: Path) -> None:
    """Close the interrupted runs below `out`, and report each."""
    for folder in close_lost(out, keys, lambda folder: note(f"run {folder.run_id} {ELSEWHERE}")):
        note(f"run {folder.run_id} was interrupted; its bundle, signed as lost, is {folder.result}")


def recover_series(out: Path, keys: Path) -> None:
    """Close the interrupted series below `out`, and report each. Close their runs first."""
    for series in close_lost_series(out, keys):
        note(f"series {series.id} was interrupted; its record is {series.record}")

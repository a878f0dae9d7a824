"""Say which runs and series had lost their kit and have a record now. The library closes them."""

from __future__ import annotations

from pathlib import Path

from kit.cli.terminal import note
from kit.evaluate.recovery import close_lost
from kit.series.recovery import close_lost_series


def recover_runs(out: Path, keys: Path) -> None:
    """Close the runs below `out` that lost their kit, and name each."""
    for folder in close_lost(out, keys):
        note(f"run {folder.run_id} had lost its kit; its record is now {folder.result}")


def recover_series(out: Path, keys: Path) -> None:
    """Close the series below `out` that lost their kit, and name each; their runs are closed before."""
    for series in close_lost_series(out, keys):
        note(f"series {series.id} had lost its kit; its record is now {series.record}")

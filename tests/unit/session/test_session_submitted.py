"""`submit` of a session's directory names the series that can be submitted."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_session import begin

from kit.cli import run


def test_a_session_is_no_entry_and_its_series_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begin(tmp_path, name="s3")
    argv = ["submit", str(folder), "--agent", "a", "--to", str(tmp_path / "board"), "--keys", str(tmp_path)]
    assert run(argv) == 3
    said = capsys.readouterr().err
    assert f"error: {folder} is a session, not a run or a series" in said
    assert f"to make one: speedrun session end {folder} --retime 5 --interleave" in said
    series = "s00-20260102T000000Z-1a2b3c4d"
    for name in ("s00-20260101T000000Z-1a2b3c4d", series, "r00-20260103T000000Z-1a2b3c4d"):
        (folder / "bundles" / name).mkdir(parents=True)
    assert run(argv) == 3
    assert (
        f"hint: repeat the command with {folder / 'bundles' / series} in its place" in capsys.readouterr().err
    )

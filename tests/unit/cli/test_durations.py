"""Deadlines take seconds, or hours, minutes and seconds with their units."""

from __future__ import annotations

import click
import pytest

from kit.cli import run
from kit.cli.options import Duration

DAY = Duration(min=0.1, max=86400)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("0.5", 0.5), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1h 30m 5s", 5405),
     ("1.5h", 5400), ("1d", 86400), ("1h5s", 3605), (" 10m ", 600), (600, 600), ("1e2", 100)],
)  # fmt: skip
def test_a_duration_is_passed_in_seconds(text, seconds):
    assert DAY.convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "10min", "30m1h", "1h30", "10 minutes", "-1m", "1:30", "1m1m", "١m", "1,5h"]
)
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(click.BadParameter, match="is not a duration: try seconds"):
        DAY.convert(text, None, None)


@pytest.mark.parametrize("text", ["nan", "inf", "-5", "0s", "25h", "9" * 400 + "h"])
def test_a_duration_outside_its_range_is_refused(text):
    with pytest.raises(click.BadParameter, match=r"not in the range|not a number"):
        DAY.convert(text, None, None)


@pytest.mark.parametrize("name", ["start", "warmup", "stall", "teardown", "total"])
def test_every_deadline_takes_units_and_a_wrong_one_names_itself(name, capsys):
    arguments = [
        "eval",
        "--record",
        "3",
        "--profile",
        "smoke",
        "--runtime",
        "host",
        "--image",
        "host",
        "--plan",
    ]
    assert run([*arguments, f"--{name}-deadline", "11m"]) == 0
    assert "660" in capsys.readouterr().out
    assert run([*arguments, f"--{name}-deadline", "11min"]) == 2
    said = capsys.readouterr().err
    assert f"--{name}-deadline" in said and "'11min'" in said


def test_the_range_of_a_duration_has_units_in_help_and_errors(capsys):
    assert run(["eval", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Timeout for the whole run. [0.1s to 7d]" in text and "x<=" not in text.partition("--audit ")[0]
    assert run(["cache", "clean", "--help"]) == 0
    assert "[0s or more]" in capsys.readouterr().out
    assert run(["eval", "--record", "3", "--total-deadline", "8d"]) == 2
    assert "is not in the range 0.1s to 7d" in capsys.readouterr().err

"""Files of upstream's third track: times in seconds, further fields, and no environment at times."""

from __future__ import annotations

import pytest

from kit.values.log import Grammar, parse_line
from kit.values.logread import read_log
from kit.values.run_result import Point

VAL = "step:3000/3000 val_loss:3.2781 train_time:512.037s step_avg:170.68ms"
BAR = b"=" * 100 + b"\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (VAL, Point(3000, 3000, 3.2781, 512037)),
        ("step:0/3000 val_loss:10.82584 train_time:0.000s step_avg:nanms", Point(0, 3000, 10.82584, 0)),
        ("step:2/3000 train_time:0.345s step_avg:172.50ms", Point(2, 3000, None, 345)),
        ("step:2/3000 train_time:7s step_avg:172.50ms", Point(2, 3000, None, 7000)),
        ("step:2/3000 train_time:1.0006s step_avg:0.5003s", Point(2, 3000, None, 1001)),
        (
            VAL.replace(" train", " val_avg_loss:3.27 val_ema_loss:3.28 train"),
            Point(3000, 3000, 3.2781, 512037),
        ),
        (VAL + " ema_beta:0 ref_gamma:-0.075 ref_step:2375", Point(3000, 3000, 3.2781, 512037)),
        (VAL + " count:0 rel:0.000e+00 handoff:none", Point(3000, 3000, 3.2781, 512037)),
        (VAL.replace("512.037s", "512037ms") + " lr:1e-3", Point(3000, 3000, 3.2781, 512037)),
        ("[rank0]: " + VAL + "\r", Point(3000, 3000, 3.2781, 512037)),
    ],
)
def test_reads_each_form_of_line(line: str, expected: Point) -> None:
    log = read_log(line.encode() + b"\n")
    assert (log.grammar, log.points) == (Grammar.STEP, (expected,))


@pytest.mark.parametrize(
    "line",
    [
        VAL + " val_loss:3.1",
        VAL + " ema",
        VAL + " :1",
        VAL + "  ema:1",
        VAL + " ema:" + "1" * 100,
        VAL.replace("3.2781", "3"),
        VAL.replace("3.2781", "-3.2781"),
        VAL.replace("512.037s", "512.037"),
        VAL.replace("512.037s", "512.037ms"),
        VAL.replace("512.037s", "nans"),
        VAL.replace("512.037s", "99999999999.0s"),
        VAL.replace(" train_time:512.037s", ""),
        VAL.replace(" step_avg:170.68ms", ""),
        VAL.replace("170.68", "170"),
        VAL.replace("3000/3000", "3000"),
    ],
)
def test_other_lines_are_no_points(line: str) -> None:
    assert read_log(line.encode()).points == ()


def test_a_file_without_an_environment_has_its_lines_after_the_source() -> None:
    source = b"import os\n# step:1/1 val_loss:0.1000 train_time:1ms step_avg:1.00ms\n"
    log = read_log(source + BAR + b"logs/0.txt\nUsing seed=1\n" + VAL.encode() + b"\n")
    assert log.points == (Point(3000, 3000, 3.2781, 512037),)
    assert ([s.data for s in log.sources], log.environment, log.other_lines) == ([source], None, 2)


@pytest.mark.parametrize("line", [VAL, VAL.replace("512.037s", "512037ms") + " ema_beta:0"])
def test_no_such_line_is_a_claim_in_a_run(line: str) -> None:
    assert all(parse_line(line, grammar) is None for grammar in Grammar)

"""Lines that nearly are claims are counted with the reason; they stay what they are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kit.values.log import Grammar, parse_line
from kit.values.logread import read_any, read_log
from kit.values.lookalikes import EXAMPLES, LookAlikes, look_alikes_of_run

VAL = "step:30/30 val_loss:3.2790 train_time:9120ms step_avg:304.00ms"


def stored(folder: Path, data: bytes, stream: str = "o", whole: int = 1) -> tuple[Path, Path]:
    log, stamps = folder / "guest.log", folder / "stamps"
    log.write_bytes(data)
    stamps.write_text(f'[5,"{stream}",{len(data)},{whole}]\n')
    return log, stamps


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (VAL.replace("304.00", "304"), "step_avg needs a decimal point"),
        (VAL.replace("304.00ms", "304.00"), "step_avg must be a number"),
        (VAL.replace("304.00ms", "304.00s"), "step_avg must be a number"),
        (VAL.replace("3.2790", "3"), "val_loss needs a decimal point"),
        (VAL.replace("3.2790", "-3.2790"), "val_loss must be a number"),
        (VAL.replace("3.2790", "3.27e0"), "val_loss must be a number"),
        (VAL.replace("9120ms", "9.120s"), "train_time must be in whole milliseconds, not in seconds"),
        (VAL.replace("9120ms", "9120.5ms"), "train_time must be in whole milliseconds, such as"),
        (VAL.replace("9120ms", "9120"), "train_time must be in whole milliseconds, such as"),
        (VAL.replace(" step_avg:304.00ms", ""), "step_avg is missing"),
        (VAL.replace(" train_time:9120ms", ""), "train_time is missing"),
        (VAL.replace("30/30", "30"), "the line must begin with step:N/TOTAL"),
        (VAL.replace("step:30/30", "step: 30/30"), "the line must begin with step:N/TOTAL"),
        ("epoch 1 " + VAL, "the line must begin with step:N/TOTAL"),
        (VAL.replace(" ", ", "), "the line must begin with step:N/TOTAL"),
        (VAL.replace(" train", ", train"), "val_loss must be a number"),
        (VAL.replace(" train", "  train"), "fields are name:value, with one space between them"),
        (VAL.replace("train_time:", "train_time: "), "fields are name:value, with one space between them"),
        (VAL + " val_loss:3.1", "a field is printed twice"),
        (VAL + " lr:0.1", "only the fields"),
        ("step:30/30 train_time:9120ms step_avg:304.00ms val_loss:3.2790", "the order of the fields is"),
        ("[rank0]: " + VAL, "the line begins with a prefix"),
        ("\x1b[32m" + VAL + "\x1b[0m", "the line contains colour codes"),
        (VAL + "\r", "the line ends in CR LF, not in LF alone"),
        (VAL + " ", "the line begins or ends with a space"),
        (VAL + " " * 250, "the line is longer than 256 bytes"),
        ("val loss 3.2790", "their form is 'val loss X', but the form of this log is 'step:N/TOTAL"),
        ("val_loss: 3.2790", "the line must begin with step:N/TOTAL"),
    ],
)
def test_each_fault_of_a_runs_line_is_named(line: str, reason: str, tmp_path: Path) -> None:
    log, stamps = stored(tmp_path, line.encode() + b"\n")
    near = look_alikes_of_run(log, stamps, Grammar.STEP)
    assert near.lines == 1
    assert near.reasons[0][0].startswith(reason)


@pytest.mark.parametrize(
    ("stream", "whole", "reason"),
    [("e", 1, "claims count on stdout, not on stderr"), ("o", 0, "the line has no line end")],
)
def test_a_claim_in_the_wrong_place_is_named(stream: str, whole: int, reason: str, tmp_path: Path) -> None:
    log, stamps = stored(tmp_path, VAL.encode(), stream, whole)
    assert look_alikes_of_run(log, stamps, Grammar.STEP).reasons == ((reason, 1),)


def test_the_form_of_another_grammar_is_named(tmp_path: Path) -> None:
    log, stamps = stored(tmp_path, VAL.encode() + b"\n")
    reasons = look_alikes_of_run(log, stamps, Grammar.CLASSIC).reasons
    assert reasons[0][0].endswith("but the form of this log is 'val loss X'")


@pytest.mark.parametrize(
    "line",
    [
        VAL,
        "hello",
        "peak memory consumption: 30 MiB",
        "Warmup step 1/10",
        "train_steps=3000 val_loss_every=125",
        'print0(f"step:{step}/{steps} val_loss:{val_loss:.4f}")',
        "step:2650 tensors:48",
        "target_val_loss=0",
    ],
)
def test_claims_and_other_lines_are_not_counted(line: str, tmp_path: Path) -> None:
    log, stamps = stored(tmp_path, line.encode() + b"\n")
    assert look_alikes_of_run(log, stamps, Grammar.STEP) == LookAlikes()
    assert read_log(line.encode()).look_alikes == LookAlikes()


def test_a_file_counts_only_what_is_no_point_in_a_file(tmp_path: Path) -> None:
    near = VAL.replace("304.00", "304") + "\n"
    text = (
        near * 3 + VAL.replace("9120ms", "9.120s") + "\r\n[rank0]: " + VAL + "\n" + VAL.replace("3.2790", "3")
    )
    log = read_log(text.encode())
    assert len(log.points) == 2
    assert log.look_alikes == LookAlikes(
        4, (("step_avg needs a decimal point", 3), ("val_loss needs a decimal point", 1))
    )
    path, _ = stored(tmp_path, VAL.encode() + b"\r\n")
    assert read_any(path).look_alikes.reasons == (("the line ends in CR LF, not in LF alone", 1),)


def test_the_example_of_each_grammar_is_a_validation_line() -> None:
    for grammar, line in EXAMPLES.items():
        point = parse_line(line, grammar)
        assert point is not None
        assert point.val_loss is not None


def test_counting_ends_and_hostile_lines_cost_no_time(tmp_path: Path) -> None:
    begin = time.process_time()
    lines = [
        (unit * 200)[:500]
        for unit in ("step1", "step:1 ", "val_loss", "step:1/1 a:1 ", "s:1", "\x1b[1mstep:1 ")
    ]
    data = ("\n".join(lines * 300) + "\n").encode()
    log, stamps = tmp_path / "guest.log", tmp_path / "stamps"
    log.write_bytes(data)
    stamps.write_text("".join(f'[5,"o",{len(line)},1]\n' for line in data.splitlines(keepends=True)))
    look_alikes_of_run(log, stamps, Grammar.STEP)
    assert time.process_time() - begin < 60.0

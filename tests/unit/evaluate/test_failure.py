"""The guest's own first traceback is found in a crashed run's output, without torchrun's report."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.evaluate.failure import LAST_LINES, MAX_LINES, find_failure, read_failure

LOGS = Path(__file__).parents[2] / "assets" / "guest_logs"
TORCHRUN = (
    "E1128 21:31:10.232000 1 torch/distributed/elastic/multiprocessing/api.py:1002] "
    "failed (exitcode: 1) local_rank: 0 (pid: 9) of binary: /usr/bin/python3"
)


def test_a_real_log_of_two_ranks_gives_one_traceback():
    failure = read_failure(LOGS / "two-ranks-marked.log")
    assert failure.is_traceback and failure.ranks == (0, 1)
    assert failure.lines == (
        "Traceback (most recent call last):",
        '  File "/workspace/train_gpt2.py", line 25, in <module>',
        "    main()",
        '  File "/workspace/train_gpt2.py", line 22, in main',
        "    load(step)",
        '  File "/workspace/train_gpt2.py", line 10, in load',
        '    raise RuntimeError(f"The size of tensor a (768) must match the size of '
        'tensor b (512) at step {step}")',
        "RuntimeError: The size of tensor a (768) must match the size of tensor b (512) at step 3",
    )


def test_alternating_lines_of_four_ranks_give_one_chained_traceback():
    failure = read_failure(LOGS / "four-ranks-unmarked.log")
    assert failure.is_traceback and failure.ranks == ()
    assert [line for line in failure.lines if not line.startswith(" ")] == [
        "Traceback (most recent call last):",
        "RuntimeError: unable to open file </workspace/data/fineweb10B/fineweb_train_000103.bin> in "
        "read-only mode: No such file or directory (2)",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        "Traceback (most recent call last):",
        "ValueError: cannot read fineweb_train_000103.bin",
    ]
    assert len(failure.lines) == 17 and not any("torch/distributed" in line for line in failure.lines)


def test_the_rank_that_failed_first_is_shown():
    failure = find_failure(
        [
            "[rank3]: Traceback (most recent call last):",
            "[rank0]: Traceback (most recent call last):",
            '[rank0]:   File "x.py", line 9, in <module>',
            '[rank3]:   File "x.py", line 5, in <module>',
            "[rank0]: RuntimeError: Connection closed by peer",
            "[rank3]: ValueError: the cause",
        ]
    )
    assert failure.lines[-1] == "ValueError: the cause" and failure.ranks == (3,)


def test_the_message_of_an_exception_may_have_several_lines():
    lines = ["Traceback (most recent call last):", '  File "x.py", line 1, in <module>', "    f()"]
    lines += ["RuntimeError: CUDA error: out of memory", "CUDA errors might be reported later", "", "x"]
    assert find_failure(lines).lines == tuple(lines[:5])


def test_a_syntax_error_has_no_head_and_is_found():
    lines = ['  File "/workspace/train_gpt2.py", line 3', "    def x(", "         ^"]
    lines += ["SyntaxError: '(' was never closed"]
    assert find_failure(["hello", *lines, *lines, TORCHRUN]).lines == tuple(lines)


def test_a_syntax_error_of_an_imported_file_does_not_end_the_traceback():
    lines = ["Traceback (most recent call last):", '  File "/w/a.py", line 1, in <module>', "    import b"]
    lines += ['  File "/w/b.py", line 3', "    def x(", "         ^", "SyntaxError: '(' was never closed"]
    assert find_failure(lines).lines == tuple(lines)


def test_claims_between_the_lines_of_a_traceback_are_left_out():
    lines = ["Traceback (most recent call last):", '  File "x.py", line 1, in <module>']
    claim = "step:3/128 train_loss:5.4000 train_time:3ms step_avg:1.00ms"
    assert find_failure([*lines, claim, "ValueError: x"]).lines == (*lines, "ValueError: x")


def test_without_a_traceback_the_last_lines_before_torchruns_report_are_shown():
    failure = find_failure([f"line {n}" for n in range(40)] + ["bye", "bye", TORCHRUN, "Traceback x"])
    assert not failure.is_traceback and failure.ranks == ()
    assert failure.lines == (*(f"line {n}" for n in range(41 - LAST_LINES, 40)), "bye")


def test_a_script_that_printed_nothing_has_no_lines(tmp_path):
    (tmp_path / "guest.log").write_bytes(b"")
    assert read_failure(tmp_path / "guest.log").lines == ()


def test_the_middle_of_a_long_traceback_is_left_out():
    frames = [f'  File "x.py", line {n}, in f' for n in range(500)]
    failure = find_failure(["Traceback (most recent call last):", *frames, "RecursionError: too deep"])
    assert len(failure.lines) == MAX_LINES + 1 and failure.lines[-1] == "RecursionError: too deep"
    assert "... 470 more lines ..." in failure.lines


@pytest.mark.parametrize("junk", [b"\xff\xfe\x00", b"\r\n" * 3, b"[rank99999]: x\n"])
def test_bytes_that_are_no_text_do_no_harm(tmp_path, junk):
    (tmp_path / "guest.log").write_bytes(junk)
    assert not read_failure(tmp_path / "guest.log").is_traceback


def test_only_the_end_of_a_large_log_is_read(tmp_path):
    old = b"Traceback (most recent call last):\n  f\nOldError: handled\n"
    new = b"Traceback (most recent call last):\n  f\nValueError: last\n"
    (tmp_path / "guest.log").write_bytes(old + b"x" * 99 + b"\n" + b"step\n" * 400_000 + new)
    assert read_failure(tmp_path / "guest.log").lines[-1] == "ValueError: last"

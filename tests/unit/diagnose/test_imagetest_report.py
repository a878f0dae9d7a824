"""A self-test's report is a stranger's: it is read up to its first fault, and a fault is never overlooked."""

from __future__ import annotations

import ast
import json

import pytest

from kit.core.facts import guest_file
from kit.diagnose.imagetest.report import (
    ATTENTION,
    CHECKS,
    CUDNN,
    MORE,
    SelfTestOutcome,
    last_error_line,
    read_report,
)
from kit.guest import selftest
from kit.sandbox.stamp import LogWriter
from kit.values.output import StoredOutput
from kit.values.run_result import OutputStream
from kit.values.run_spec import Limits


def line(check: str, **changes) -> bytes:
    answer = {"check": check, "outcome": "passed", "detail": "fine", "seconds": 0.5, "versions": {}}
    return json.dumps({**answer, **changes}).encode() + b"\n"


WHOLE = [line(check) for check in CHECKS]


@pytest.fixture
def read(tmp_path):
    """Store what a guest printed as `supervise` does, and read the report out of it."""

    def run(*printed: bytes | tuple[OutputStream, bytes]):
        limits = Limits(memory=1 << 30)
        with LogWriter(tmp_path / "log", tmp_path / "stamps", limits) as writer:
            for at, part in enumerate(printed):
                stream, data = part if isinstance(part, tuple) else (OutputStream.STDOUT, part)
                writer.feed(stream, data, at)
            writer.finish(len(printed))
        return read_report(StoredOutput(tmp_path / "log", tmp_path / "stamps").pieces())

    return run


def test_a_whole_report_has_no_fault(read):
    report = read(*WHOLE)
    assert report.fault is None
    assert tuple(a.id for a in report.answers) == CHECKS
    assert {(a.outcome, a.detail, a.seconds) for a in report.answers} == {
        (SelfTestOutcome.PASSED, "fine", 0.5)
    }


def test_the_guest_answers_the_checks_that_the_host_awaits():
    assert tuple(c.__name__.replace("_", "-") for c in selftest.CHECKS) == CHECKS


def test_what_is_on_stderr_is_no_part_of_the_report(read):
    noise = [(OutputStream.STDERR, b"warning\n"), (OutputStream.STDERR, line("gloo", outcome="failed"))]
    assert read(*noise, *WHOLE, *noise).fault is None
    alone = read(*((OutputStream.STDERR, data) for data in WHOLE))
    assert alone.answers == () and alone.fault == "ends before the check python"


FIRST, SECOND, LAST = CHECKS[0], CHECKS[1], CHECKS[-1]
FAULTS = {
    "empty": ([], 0, f"ends before the check {FIRST}"),
    "cut after three": (WHOLE[:3], 3, f"ends before the check {CHECKS[3]}"),
    "last line without its end": ([*WHOLE[:-1], WHOLE[-1].rstrip()], len(CHECKS) - 1, "incomplete line"),
    "a line twice": ([WHOLE[0], *WHOLE], 1, f"the line for {SECOND} is about {FIRST}"),
    "two lines swapped": ([WHOLE[1], WHOLE[0], *WHOLE[2:]], 0, f"the line for {FIRST} is about {SECOND}"),
    "a line left out": ([*WHOLE[:4], *WHOLE[5:]], 4, f"is about {CHECKS[5]}"),
    "a check of its own": ([line("all-is-well"), *WHOLE], 0, "is about all-is-well"),
    "more after the last": ([*WHOLE, WHOLE[-1]], len(CHECKS), "unexpected line after the last check"),
    "text in between": ([WHOLE[0], b"hello\n", *WHOLE[1:]], 1, "not valid JSON"),
    "an empty line": ([b"\n", *WHOLE], 0, "not valid JSON"),
    "not UTF-8": ([b'{"check": "\xff"}\n', *WHOLE], 0, "not valid JSON"),
    "a list": ([b"[]\n", *WHOLE], 0, "not of type 'object'"),
    "a key twice": ([WHOLE[0].replace(b"{", b'{"outcome": "failed", ', 1), *WHOLE[1:]], 0, "duplicate key"),
    "a key too many": ([line(FIRST, verdict="reached"), *WHOLE[1:]], 0, "Additional properties"),
    "a key too few": ([b'{"check": "python", "outcome": "passed"}\n', *WHOLE[1:]], 0, "required"),
    "another outcome": ([line(FIRST, outcome="excellent"), *WHOLE[1:]], 0, "is not one of"),
    "true for an outcome": ([line(FIRST, outcome=True), *WHOLE[1:]], 0, "is not one of"),
    "no time at all": ([line(FIRST, seconds=float("nan")), *WHOLE[1:]], 0, "NaN is not a finite number"),
    "endless time": ([line(FIRST).replace(b"0.5", b"1e999"), *WHOLE[1:]], 0, "not a finite number"),
    "time backwards": ([line(FIRST, seconds=-1), *WHOLE[1:]], 0, "minimum"),
    "a version that is a number": ([line(FIRST, versions={"torch": 2.4}), *WHOLE[1:]], 0, "string"),
    "a name that is a path": ([line(FIRST, versions={"../x": "1"}), *WHOLE[1:]], 0, "does not match"),
    "no word": ([line(FIRST, detail=""), *WHOLE[1:]], 0, "should be non-empty"),
    "deeper than the parser": ([b"[" * 60_000 + b"\n", *WHOLE], 0, "not valid JSON"),
    "an overlong line": ([line(FIRST, detail="x" * 70_000), *WHOLE[1:]], 0, "overlong"),
}


@pytest.mark.parametrize(("printed", "kept", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_ends_the_report_and_is_named(read, printed, kept, fault):
    report = read(*printed)
    assert report.fault is not None and fault in report.fault
    assert tuple(a.id for a in report.answers) == CHECKS[:kept]


def test_text_of_the_guest_cannot_steer_a_terminal(read):
    report = read(line(FIRST, detail="\x1b[2J\u202egood\nbad"), *WHOLE[1:])
    assert report.fault is None
    assert report.answers[0].detail.isprintable() and "good" in report.answers[0].detail


def test_files_that_do_not_fit_together_are_a_fault(read, tmp_path):
    read(*WHOLE)
    with (tmp_path / "log").open("ab") as f:
        f.write(b"more\n")
    output = StoredOutput(tmp_path / "log", tmp_path / "stamps")
    assert "stamps" in (read_report(output.pieces()).fault or "")


def test_last_error_line_are_what_stderr_said_last_whatever_stdout_said_after_it(read, tmp_path):
    def words():
        return last_error_line(StoredOutput(tmp_path / "log", tmp_path / "stamps").pieces())

    read(
        (OutputStream.STDERR, b"first\n"),
        (OutputStream.STDERR, b"x" * 900 + b"\x1b[31mKilled\xff\n\n"),
        *WHOLE,
    )
    assert words().isprintable() and "Killed" in words() and len(words()) <= 300
    read((OutputStream.STDERR, b"without its end"), *WHOLE)
    assert words() == "without its end"
    read(*WHOLE)
    assert words() == ""


def test_host_and_guest_agree_on_the_further_checks_of_an_image_with_modules():
    tree = ast.parse(guest_file("selftest_v2.py").read_text())
    [value] = [
        n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "MORE"
    ]
    assert tuple(name.id.replace("_", "-") for name in value.elts) == MORE


def test_the_checks_of_an_image_without_a_tokenizer_are_named_in_the_order_of_the_guest():
    tree = ast.parse(guest_file("selftest_attention.py").read_text())
    [added] = [n.value for n in ast.walk(tree) if isinstance(n, ast.AugAssign)]
    assert tuple(part.attr.replace("_", "-") for part in added.elts) == ATTENTION
    assert set(ATTENTION) == set(MORE) - {"tokenizer"}


def test_host_and_guest_agree_on_the_checks_of_cudnn():
    tree = ast.parse(guest_file("selftest_cudnn.py").read_text())
    [value] = [
        n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "CUDNN"
    ]
    assert tuple(name.id.replace("_", "-") for name in value.elts) == CUDNN

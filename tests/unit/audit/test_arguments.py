"""Arguments that the script surely refuses are named; what is not certain is left to the run."""

from __future__ import annotations

import ast

import pytest

from kit.audit.arguments import argument_faults

PARSER = """
import argparse
p = argparse.ArgumentParser()
p.add_argument("--lr", "-l", type=float, default=0.1)
p.add_argument("--steps", type=int)
p.add_argument("out", nargs="?")
a = p.parse_args()
"""


def faults(code: str, *args: str) -> tuple[str, ...]:
    return argument_faults(args, [ast.parse(code)])


@pytest.mark.parametrize(
    "args",
    [
        (), ("--lr", "-1"), ("--lr=-1e-3",), ("-l", "0.2"), ("-l0.2",), ("--st", "3"), ("name",),
        ("--lr", "-.5"), ("--help",), ("--", "x"),
    ],
)  # fmt: skip
def test_arguments_that_the_parser_knows(args: tuple[str, ...]) -> None:
    assert faults(PARSER, *args) == ()


@pytest.mark.parametrize(
    ("args", "fault"),
    [
        (("--width", "64"), "the script does not declare the option --width"),
        (("--nproc_per_node=8",), "the script does not declare the option --nproc_per_node"),
        (("-x",), "the script does not declare the option -x"),
    ],
)
def test_options_that_it_does_not_know(args: tuple[str, ...], fault: str) -> None:
    assert faults(PARSER, *args) == (fault,)
    assert faults(PARSER, *args, *args) == (fault,)


def test_a_required_option() -> None:
    code = PARSER.replace("type=int", "required=True")
    assert faults(code) == ("the required option --steps is missing",)
    assert faults(code, "--steps=3") == faults(code, "--ste", "3") == ()


def test_a_script_that_reads_no_arguments() -> None:
    assert faults("print(1)", "--lr", "1") == ("the script does not read its arguments",)
    assert faults("print(1)") == ()


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nprint(sys.argv[1:])",
        "from sys import argv\nprint(argv)",
        "import fire\nfire.Fire(print)",
        PARSER.replace("parse_args", "parse_known_args"),
        "for name in ('--a', '--b'):\n    p.add_argument(name)",
        "p.add_argument(*names)",
        "p.add_argument('only_a_position')",
    ],
)
def test_what_is_not_certain_is_no_fault(code: str) -> None:
    assert faults(code, "--width", "64") == ()

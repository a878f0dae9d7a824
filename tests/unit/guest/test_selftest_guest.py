"""The self-test's own frame, without torch: what it prints however its checks end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import kit.guest
from kit.core.schema import validate

FOLDER = Path(kit.guest.__file__).parent


def report(code: str) -> tuple[int, list[dict], str]:
    """Run the frame with other checks; return exit code, lines and stderr."""
    done = subprocess.run(
        [sys.executable, "-c", f"import os, sys, selftest\n{code}\nselftest.main()"],
        cwd=FOLDER, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_a_broken_check_is_reported_and_the_next_one_runs():
    code, lines, _ = report(
        "def breaks(): raise ValueError('a\\nb')\n"
        "def works(): return 'fine', {'torch': '2.4.1+cu121'}\n"
        "def none(): raise selftest.Skip('not here')\n"
        "selftest.CHECKS = (breaks, works, none)"
    )
    assert code == 0
    assert [(a["check"], a["outcome"], a["detail"]) for a in lines] == [
        ("breaks", "failed", "ValueError: a b"), ("works", "passed", "fine"), ("none", "skipped", "not here"),
    ]  # fmt: skip
    assert lines[1]["versions"] == {"torch": "2.4.1+cu121"}
    for answer in lines:
        validate("selftest.v1", answer, "a line")


def test_what_libraries_print_does_not_get_into_the_report():
    _, lines, err = report(
        "def noisy():\n"
        "    print('hello from Python', flush=True)\n"
        "    os.system('echo hello from a child')\n"
        "    return 'fine', {}\n"
        "selftest.CHECKS = (noisy,)"
    )
    assert [a["check"] for a in lines] == ["noisy"]
    assert "hello from Python" in err and "hello from a child" in err


def test_a_check_that_ends_the_interpreter_leaves_the_report_short():
    code, lines, _ = report(
        "def works(): return 'fine', {}\ndef dies(): os._exit(7)\nselftest.CHECKS = (works, dies, works)"
    )
    assert code == 7 and len(lines) == 1


def test_a_program_that_fails_is_quoted_and_one_that_hangs_is_ended():
    _, lines, _ = report(
        "def fails(): return selftest.child('sh', '-c', 'echo why >&2; exit 3'), {}\n"
        "def hangs():\n"
        "    selftest.PATIENCE_S = 0.5\n"
        "    return selftest.child('sleep', '600'), {}\n"
        "selftest.CHECKS = (fails, hangs)"
    )
    assert [a["detail"] for a in lines] == [
        "RuntimeError: sh exited with 3: why", "RuntimeError: sleep did not end within 0.5 s",
    ]  # fmt: skip

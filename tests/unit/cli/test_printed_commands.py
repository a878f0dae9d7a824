"""A hint's command works as it is printed, also with blanks and quotes in a path."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.cli import run
from kit.core.facts import facts_root

COMMAND = re.compile(
    r"(^|[\s:(])(rm( -r)?|mv|mkdir -p|chmod \S*|docker rmi|speedrun [a-z]+( [a-z]+)?|>|"
    r"--(out|keys|store|to|mirror)) $"
)
PLAIN = re.compile(r"[A-Z_]+|era|number|name|run_id|registry|name_of|task|tag|record|least")
"""Last words of expressions whose values have no blanks."""
ODD = "o'dd name; true"


def unquoted(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        text = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                text = str(part.value)
                continue
            assert isinstance(part, ast.FormattedValue)
            if isinstance(part.value, ast.IfExp) and isinstance(part.value.body, ast.Constant):
                continue
            shown = ast.unparse(part.value)
            is_plain = PLAIN.fullmatch(re.split(r"\W+", shown.rstrip(")"))[-1]) or shown.startswith("tag(")
            if COMMAND.search(text) and not shown.startswith("in_shell(") and not is_plain:
                yield f"{text}{{{shown}}}"
            text = ""


def test_every_path_in_a_command_is_quoted() -> None:
    kit = facts_root() / "kit"
    files = [f for f in sorted(kit.rglob("*.py")) if f.parent != kit / "guest"]
    assert len(files) > 400
    assert [(f.name, text) for f in files for text in unquoted(f.read_text())] == []


@pytest.mark.parametrize(
    "code",
    [
        "f'rm {path}'",
        "f'run: speedrun doctor --fix --out {where.parent}'",
        "f'speedrun bundle verify {bundle} -x'",
    ],
)
def test_a_path_that_is_not_quoted_is_noticed(code: str) -> None:
    assert list(unquoted(code))


def commands(stderr: str) -> list[list[str]]:
    """The printed commands as a shell splits them, from the word `speedrun` or `chmod` on."""
    lines = [line for line in stderr.splitlines() if line.lstrip().startswith("hint:")]
    found = (re.search(r"(speedrun|chmod) .*", line) for line in lines)
    return [shlex.split(m[0]) for m in found if m]


def test_commands_about_keys_work_as_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    keys = tmp_path / ODD
    assert run(["keys", "list", "--keys", str(keys)]) == 0
    (command,) = commands(capfd.readouterr().err)
    assert command == ["speedrun", "keys", "generate", "--keys", str(keys)]
    assert run(command[1:]) == 0
    (keys / "own.key").chmod(0o644)
    assert run(["keys", "show", "--keys", str(keys)]) != 0
    (command,) = commands(capfd.readouterr().err)
    assert command == ["chmod", "600", str(keys / "own.key")]

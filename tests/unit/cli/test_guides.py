"""docs/guides/eight-gpus.md: every command without a mark is run here, and answers what the guide says."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.cli import run
from kit.run import cuda, toolkit
from kit.run.gpu import RECORD_MODELS
from kit.run.version import spell

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "eight-gpus.md"
MARK = "# not tested"

pytestmark = pytest.mark.skipif(Path("/proc/driver/nvidia/gpus").is_dir(), reason="this machine has GPUs")


@dataclass(frozen=True)
class Shown:
    """A command of the guide and the lines that it shows as its answer."""

    command: str
    answer: tuple[str, ...]


def shown() -> list[Shown]:
    found = []
    for block in re.findall(r"```console\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *answer = part.rstrip("\n").split("\n")
            found.append(Shown(command, tuple(answer)))
    return found


TESTED = [s for s in shown() if not s.command.endswith(MARK)]


def test_the_guide_has_both_kinds_of_commands():
    assert len(TESTED) >= 6 and len(shown()) > len(TESTED)


def test_every_block_of_the_guide_is_read():
    assert GUIDE.read_text().count("```") == 2 * len(re.findall(r"```console\n", GUIDE.read_text()))


@pytest.mark.parametrize("case", TESTED, ids=lambda s: s.command.removeprefix(".venv/bin/speedrun "))
def test_a_command_answers_what_the_guide_says(case, tmp_path, monkeypatch, capsys):
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(case.command)
    assert program == ".venv/bin/speedrun"
    if arguments == ["keys", "show"]:  # the line before it in the guide
        assert run(["keys", "generate"]) == 0
        capsys.readouterr()
    code = run(arguments)
    said = capsys.readouterr()
    failed = any(line.startswith("error:") for line in case.answer)
    assert code in (2, 3) if failed else code == 0, said.err
    told = (said.err if failed else said.out).splitlines()
    for line in case.answer:
        assert any(answer.startswith(line) for answer in told), f"it does not say: {line}"


@pytest.mark.parametrize("case", [s for s in shown() if s not in TESTED], ids=lambda s: s.command[:50])
def test_a_command_that_is_not_run_at_least_exists(case, capsys):
    program, *arguments = shlex.split(case.command.removesuffix(MARK).replace("<", "").replace(">", ""))
    if program != ".venv/bin/speedrun":
        assert program in ("apt-get", "git", "make") and case.answer == ()
        return
    words = [a for a in arguments if not a.startswith("-")][:2]
    flags = [a for a in arguments if a.startswith("--")]
    command = words[:1] if words[0] in ("eval", "doctor") else words
    assert run([*command, "--help"]) == 0
    told = capsys.readouterr().out
    assert all(flag in told for flag in flags)


def test_the_guides_figures_are_the_codes():
    text = GUIDE.read_text()
    for version in ((12, 1), (12, 4), (12, 6)):
        assert cuda.SHIPPED[version] in text
    assert cuda.FLOOR[12] in text
    assert f"toolkit {spell(toolkit.safe_version())} or newer" in text
    assert all(f"`{model}`" in text for model in RECORD_MODELS)

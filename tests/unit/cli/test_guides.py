"""Every command of docs/guides without a mark answers what its guide says; all that a page shows exist."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from desk import lay
from shown import GUIDES, MARK, OTHERS, REPOSITORY, SPEEDRUN, shown
from test_every_example import resolved

from kit.cli import run
from kit.gpu import cuda
from kit.values.hardware import RECORD_MODELS

EIGHT_GPUS = REPOSITORY / "docs" / "guides" / "eight-gpus.md"
PROGRAMS = ("apt-get", "cd", "cp", "git", "make", "mkdir", "nix")
HAS_GPUS = Path("/proc/driver/nvidia/gpus").is_dir()

each_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda p: p.stem)


@pytest.fixture
def at_desk(tmp_path, monkeypatch):
    """Work where results, keys and an empty leaderboard lie."""
    here = lay(tmp_path)
    shutil.rmtree(tmp_path / "leaderboard" / "submissions" / "03")
    monkeypatch.chdir(here)
    for name, folder in (("HOME", "home"), ("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "cache")):
        monkeypatch.setenv(name, str(tmp_path / folder))


@each_guide
def test_the_commands_of_a_guide_answer_what_it_says(guide, at_desk, capsys):
    if guide == EIGHT_GPUS and HAS_GPUS:
        pytest.skip("this machine has GPUs")
    tested = [case for case in shown(guide) if case.tested]
    assert tested
    for case in tested:
        program, *arguments = case.argv
        assert program in SPEEDRUN, case
        code = run(arguments)
        said = capsys.readouterr()
        failed = any(line.startswith("error:") for line in case.lines)
        assert code in ((2, 3, 4, 5) if failed else (0, 1)), f"{case}: {code}: {said.err}"
        told = [*said.out.splitlines(), *said.err.splitlines()]
        for line in case.lines:
            assert any(answer.startswith(line) for answer in told), f"{case}: it does not say: {line}: {told}"


@each_guide
def test_every_block_of_a_guide_that_shows_commands_is_read(guide):
    text = guide.read_text()
    assert text.count("```") == 2 * len(re.findall(r"^```(?:console|yaml)\n", text, re.MULTILINE))
    assert MARK not in text or f"`{MARK}`" in text, "a guide says what the mark means"


@pytest.mark.parametrize(
    "case",
    [case for page in (*OTHERS, *GUIDES) for case in shown(page) if page in OTHERS or not case.tested],
    ids=str,
)
def test_a_command_that_is_not_run_at_least_exists(case, capsys):
    program, *arguments = case.argv
    if program not in SPEEDRUN:
        assert program in PROGRAMS
        return
    command = resolved(arguments)
    assert command, f"{case}: there is no such command"
    if command == ("submit",):
        command = ("submit", "send")
    assert run([*command, "--help"]) == 0
    told = capsys.readouterr().out
    assert all(flag in told for flag in arguments if flag.startswith("--"))


def test_the_guides_figures_are_the_codes():
    text = EIGHT_GPUS.read_text()
    for version in ((12, 1), (12, 4), (12, 6)):
        assert cuda.SHIPPED[version] in text
    assert cuda.FLOOR[12] in text
    assert all(f"`{model}`" in text for model in RECORD_MODELS)

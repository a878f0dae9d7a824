"""Findings become annotations of GitHub Actions, and nothing that a submitter writes is a command."""

from pathlib import Path

import pytest
import yaml

from kit.cli import run as speedrun
from kit.cli.submit.annotations import annotation, without_commands
from kit.core.errors import SchemaError
from kit.leaderboard.submit.finding import BoardFinding, BoardRule
from kit.values.profile import Profile

ACTION = yaml.safe_load((Path(__file__).parents[3] / "action.yml").read_text())


@pytest.fixture
def keys(tmp_path, press):
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "a.pem").write_bytes(press.MAKE.SIGNER.public.pem)
    return str(folder)


def test_a_finding_is_on_the_entry_of_its_path_in_the_checkout(submit, keys, monkeypatch, capsys):
    place = submit(1, profile=Profile.SMOKE)
    monkeypatch.chdir(submit.root.parent)
    assert speedrun(["submit", "check", "board", "--keys", keys, "--github"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    where = place.relative_to(submit.root.parent).as_posix()
    assert line.startswith(f"::error file={where}/entry.json,title=unranked::")
    monkeypatch.chdir(submit.root)
    assert speedrun(["submit", "check", ".", "--keys", keys, "--github"]) == 1
    assert capsys.readouterr().out.startswith("::error file=submissions/")


def test_without_findings_nothing_is_printed(submit, keys, capsys):
    submit(1)
    assert speedrun(["submit", "check", str(submit.root), "--keys", keys, "--github"]) == 0
    assert capsys.readouterr().out == ""


def test_what_a_submitter_wrote_is_no_command_and_no_property(tmp_path):
    finding = BoardFinding("a,b:c", BoardRule.INVALID, "x\n::set-env name=PATH::/tmp\r100 %")
    line = annotation(finding, tmp_path, "")
    assert line == "::error file=a%2Cb%3Ac,title=invalid::x%0A::set-env name=PATH::/tmp%0D100 %25"


def test_an_error_is_annotated_and_its_text_is_no_command(submit, keys, capsys):
    submit(1)
    (submit.root / "board.toml").write_text('schema = "board.v1"\ndata_locks = ["##[stop-commands]x"]\n')
    assert speedrun(["submit", "check", str(submit.root), "--keys", keys, "--github"]) == 4
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    assert line.startswith("::error title=speedrun submit check::board.toml: ")
    assert "##[" not in said.err and "# #[stop-commands]x" in said.err
    found = without_commands(SchemaError("a", "::b", ["::set-env::", "##[x]"]))
    assert (found.hint, found.details) == (": :b", (": :set-env: :", "# #[x]"))


def test_json_and_annotations_exclude_each_other(submit, keys):
    submit(1)
    assert speedrun(["submit", "check", str(submit.root), "--keys", keys, "--github", "--json"]) == 2


def test_no_script_of_the_action_has_an_expression_in_it():
    """An input that is pasted into a script is run; through the environment it is a value."""
    steps = ACTION["runs"]["steps"]
    assert len(steps) == 2
    assert all("${{" not in step["run"] and step["shell"] == "bash" for step in steps)
    assert set(ACTION["inputs"]) == {"folder", "keys", "base", "data-lock", "python"}

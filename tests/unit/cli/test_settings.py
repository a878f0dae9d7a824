"""Defaults from speedrun.toml: their order, their strictness, and what a foreign file may not set."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from kit.cli import run, speedrun
from kit.cli.settings import leaves, read_settings

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"
PLAN = ("eval", "--record", "3", "--plan", "--json")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The file of the working directory; the user's directory is beside it, and empty."""
    (tmp_path / "work").mkdir()
    (tmp_path / "config" / "speedrun-kit").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "work" / "speedrun.toml"


@pytest.fixture
def mine(here):
    """The user's file."""
    return here.parents[1] / "config" / "speedrun-kit" / "speedrun.toml"


def shown(capsys, *names):
    assert run(["config", "show", *names, "--json"]) == 0
    return {v["option"]: v for v in json.loads(capsys.readouterr().out)["values"]}


def test_each_source_outranks_the_ones_after_it(here, mine, monkeypatch, capsys):
    mine.write_text(
        "[eval]\nprofile = 'smoke'\ntotal-deadline = 500\nstall-deadline = '1m'\nwarmup-deadline = 60\n"
    )
    here.write_text("[eval]\ntotal-deadline = '11m'\nstall-deadline = '2m'\nstart-deadline = 50.5\n")
    monkeypatch.setenv("SPEEDRUN_EVAL_STALL_DEADLINE", "3m")
    monkeypatch.setenv("SPEEDRUN_EVAL_START_DEADLINE", "50s")
    values = shown(capsys, "eval")
    assert [(values[n]["value"], values[n]["source"], values[n]["from"]) for n in (
        "profile", "total-deadline", "stall-deadline", "runtime",
    )] == [
        ("smoke", "file", str(mine)),
        ("11m", "file", "speedrun.toml"),
        ("3m", "environment", "SPEEDRUN_EVAL_STALL_DEADLINE"),
        ("auto", "default", None),
    ]  # fmt: skip
    assert run([*PLAN, "--runtime", "runc", "--start-deadline", "40"]) == 0
    deadlines = json.loads(capsys.readouterr().out)["deadlines"]
    assert [deadlines[f"{n}_s"] for n in ("start", "warmup", "stall", "total")] == [40, 60, 180, 660]


def test_flags_lists_and_paths_are_taken(here, mine, capsys):
    mine.write_text(
        "keys = '~/k'\n[judge]\ntask = [3, 4]\n[submit.send]\nagent = 'a'\n"
        "[bundle.verify]\nbundle-only = true\n"
    )
    home = str(here.parents[1] / "home" / "k")
    assert shown(capsys, "judge")["task"]["value"] == ["3", "4"]
    assert shown(capsys, "bundle", "verify")["bundle-only"]["value"] is True
    assert all(shown(capsys, name)["keys"]["value"] == home for name in ("eval", "series", "bundle"))
    assert run(["submit", "send", "nowhere", "--to", "board"]) == 3


def test_a_required_option_may_be_in_the_file(here, capsys):
    here.write_text("[eval]\nrecord = 3\nprofile = 'smoke'\nruntime = 'runc'\nplan = true\njson = true\n")
    assert run(["eval"]) == 0
    assert json.loads(capsys.readouterr().out)["profile"] == "smoke"


@pytest.mark.parametrize(
    ("text", "key", "where", "nearest"),
    [
        ("[eval]\nruntme = 'runc'\n", "runtme", " in [eval]", "runtime"),
        ("[eval]\ntotal_deadline = 9\n", "total_deadline", " in [eval]", "total-deadline"),
        ("[evla]\nruntime = 'runc'\n", "evla", "", "eval"),
        ("[bundle.shw]\njson = true\n", "shw", " in [bundle]", "show"),
        ("stor = '/x'\n", "stor", "", "store"),
        ("[bundle]\nkeys = '/x'\n", "keys", " in [bundle]", ""),
        ("[pack]\nbundle = 'x'\n", "bundle", " in [pack]", ""),
    ],
)
def test_an_unknown_key_names_the_file_and_the_nearest(here, text, key, where, nearest, capsys):
    here.write_text(text)
    assert run(["doctor"]) == 2
    said = capsys.readouterr().err
    assert f"error: speedrun.toml: unknown key {key!r}{where}\n" in said
    assert f"hint: the nearest key is {nearest}" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[eval\n", "not TOML"),
        ("eval = 3\n", "eval is a command, and has no value"),
        ("[eval]\nplan = 1\n", "plan is 1, expected true or false"),
        ("[eval]\nout = true\n", "out is True, expected a text or a number"),
        ("[eval]\nout = ['a']\n", "expected a text or a number"),
        ("[store]\nx = 1\n", "store is a table, expected a text"),
        ("x = '" + "a" * (1 << 20) + "'\n", "larger than 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(here, text, said, capsys):
    here.write_text(text)
    assert run(["doctor"]) == 2
    told = capsys.readouterr().err
    assert "speedrun.toml" in told and said in told
    assert run(["--help"]) == 0


@pytest.mark.parametrize(
    ("text", "named"),
    [("keys = 'k'\n", "keys"), ("[bundle.show]\nkey = 'k'\n", "key"), ("[eval]\npython = 'p'\n", "python"),
     ("[eval]\nruntime = 'host'\n", "runtime"), ("[eval]\nimage = 'host'\n", "image"),
     ("[data.fetch]\nendpoint = 'http://x'\n", "endpoint"),
     ("[cache.clean]\nyes = true\n", "yes"), ("[submit.check]\nbase = 'b'\n", "base"),
     ("store = 's'\n", "store"), ("[eval]\nstore = 's'\n", "store"),
     ("[agent.run]\nmodel = 'p'\n", "model"), ("[judge]\nmodel = 'p'\n", "model"),
     ("[distance]\nembeddings = 'p'\n", "embeddings"), ("[image.push]\ninsecure = true\n", "insecure"),
     ("[eval]\naudit-seed = '00'\n", "audit-seed"), ("[submit.check]\ndata-lock = 'p'\n", "data-lock")],
)  # fmt: skip
def test_a_foreign_directory_cannot_choose_whom_to_trust_or_leave_the_container(
    here, mine, text, named, capsys
):
    here.write_text(text)
    assert run(["doctor"]) == 2
    said = capsys.readouterr().err
    assert f"may not set {named} = " in said and f"hint: set it in {mine}, or as a flag" in said
    here.rename(mine)
    (here.parent / "p").touch()
    assert run(["config", "show"]) == 0


def test_a_directory_may_name_the_model_of_its_entry(here, capsys):
    here.write_text("[submit.send]\nmodel = 'a-model'\n")
    assert shown(capsys, "submit", "send")["model"]["value"] == "a-model"


def test_a_wrong_value_names_its_source(here, monkeypatch, capsys):
    here.write_text("[eval]\nruntime = 'foo'\n")
    assert run([*PLAN]) == 2
    said = capsys.readouterr().err
    assert "'foo'" in said and "  from speedrun.toml\n" in said
    monkeypatch.setenv("SPEEDRUN_EVAL_RUNTIME", "bar")
    assert run([*PLAN]) == 2
    assert "  from the environment variable SPEEDRUN_EVAL_RUNTIME\n" in capsys.readouterr().err


def test_a_variable_of_no_option_is_named(here, monkeypatch, capsys):
    monkeypatch.setenv("SPEEDRUN_EVAL_TOTAL_S", "9")
    assert run(["config", "show", "eval"]) == 0
    assert "warning: SPEEDRUN_EVAL_TOTAL_S is set, but no option has this variable" in capsys.readouterr().err
    assert run(["config", "show", "evla"]) == 2


@pytest.mark.parametrize(("text", "value"), [("0", False), ("yes", True), ("", False)])
def test_a_flags_variable_is_shown_as_what_it_means(text, value, here, monkeypatch, capsys):
    monkeypatch.setenv("SPEEDRUN_EVAL_PLAN", text)
    assert shown(capsys, "eval")["plan"]["value"] == value


def test_repeated_options_are_split(here, monkeypatch, capsys):
    monkeypatch.setenv("SPEEDRUN_JUDGE_TASK", "3 4")
    monkeypatch.setenv("SPEEDRUN_BUNDLE_VERIFY_KEY", "a.pem:b.pem")
    assert shown(capsys, "judge")["task"]["value"] == ["3", "4"]
    assert shown(capsys, "bundle", "verify")["key"]["value"] == ["a.pem", "b.pem"]


def test_a_file_that_may_not_be_read_is_named(here, monkeypatch, capsys):
    def refuse(self, *arguments):
        raise PermissionError(13, "Permission denied", str(self))

    here.write_text("")
    monkeypatch.setattr(Path, "open", refuse)
    assert run(["keys", "list"]) == 2
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "error: cannot read speedrun.toml: Permission denied",
        "hint: make it readable, or remove it: speedrun.toml",
    ]


def test_every_command_is_a_leaf_once(here):
    found = list(leaves(speedrun))
    assert len(found) == len(set(found)) and ("bundle", "verify") in found and ("eval",) in found


def test_without_a_home_directory_there_is_no_file_of_the_user(here, monkeypatch, capsys):
    def none():
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(Path, "home", none)
    assert read_settings(speedrun).files == ()


def test_the_pages_example_is_understood(here, mine):
    (block,) = [b.partition("```")[0] for b in PAGE.read_text().split("```toml\n")[1:]]
    mine.write_text(block)
    settings = read_settings(speedrun)
    assert settings.default_map["judge"]["tasks"] == ("3", "4")
    assert settings.default_map["eval"]["store"] == tomllib.loads(block)["store"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_pages_lines_for_completion_give_a_script(shell, here, monkeypatch, capsys):
    assert f"_SPEEDRUN_COMPLETE={shell}_source speedrun" in PAGE.read_text()
    here.write_text("broken = ")
    monkeypatch.setenv("_SPEEDRUN_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit) as ended:
        run([])
    assert ended.value.code in (0, None)
    assert f"_SPEEDRUN_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_words_are_completed(monkeypatch, capsys):
    monkeypatch.setenv("_SPEEDRUN_COMPLETE", "bash_complete")
    for words, cword, expected in (
        ("speedrun ev", "1", "plain,eval"),
        ("speedrun eval --tot", "2", "plain,--total-deadline"),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", cword)
        with pytest.raises(SystemExit):
            run([])
        assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ("[eval]\ntotal-deadline = 'abc'", "[eval] total-deadline", "'abc'"),
        ("[eval]\nruntime = 'nope'", "[eval] runtime", "'nope'"),
        ("[eval]\ngpus = 'x'", "[eval] gpus", "'x'"),
        ("[eval]\nruns = 0", "[eval] runs", "'0'"),
        ("[cache.clean]\nkind = ['downloads', 'x']", "[cache.clean] kind", "'x'"),
        ("[eval]\nmirror = '/nonexistent'", "[eval] mirror", "'/nonexistent'"),
    ],
)
def test_config_show_marks_a_value_that_its_command_would_refuse(text, place, value, here, capsys):
    here.write_text(text)
    assert run(["config", "show"]) == 2
    said = capsys.readouterr()
    assert f"error: speedrun.toml: {place} = " in said.err and value in said.err and "--help" in said.err
    assert said.out.count("(INVALID)") == 1
    assert run(["config", "show", "--json"]) == 2
    problems = [v for v in json.loads(capsys.readouterr().out)["values"] if v["problem"]]
    assert [v["from"] for v in problems] == ["speedrun.toml"]


def test_config_show_names_the_variable_of_an_invalid_value(here, monkeypatch, capsys):
    monkeypatch.setenv("SPEEDRUN_EVAL_PLAN", "maybe")
    assert run(["config", "show", "eval"]) == 2
    assert "error: SPEEDRUN_EVAL_PLAN = 'maybe': " in capsys.readouterr().err


def test_config_show_reports_a_shared_key_once(here, mine, tmp_path, capsys):
    (tmp_path / "file").touch()
    mine.write_text(f"store = '{tmp_path / 'file'}'")
    assert run(["config", "show"]) == 2
    assert capsys.readouterr().err.count("error: ") == 1

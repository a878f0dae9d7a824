"""`speedrun judge`, `rubric` and `distance`: what they print, sign and refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_rubric import made_rubric

from kit.cli import distance as distance_command
from kit.cli import judge as judge_command
from kit.cli import run
from kit.cli.rubric import lint as lint_command
from kit.core.facts import facts_root
from kit.judge.judgement import read_judgement
from kit.judge.rubric import known_rubrics, read_rubric
from kit.judge.scripts import TaskPair
from kit.judge.source import normalise
from kit.result.keys import trusted

RUBRIC = made_rubric(3, 1)
START = "loss.backward()\ny = gelu(x)\nn = 50257\n"
TARGET = "loss.backward()\ny = relu(x) ** 2\nn = 50304\n"
HALF = "loss.backward()\ny = relu(x) ** 2\nn = 50257\n"


def reply(node: int, verdict: str, quote: str = "y = relu(x) ** 2") -> str:
    items = [{"id": i, "verdict": verdict, "quotes": [quote]} for i in ("squared-relu", "padded", "other")]
    return f"[[answer]]\nnode = {node}\ntext = '''{json.dumps({'items': items})}'''\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with a half-done script, and a task of two short scripts."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    Path("04.toml").write_text(RUBRIC)
    Path("half.py").write_text(HALF)
    pair = TaskPair(*(normalise({"train_gpt2.py": text.encode()}) for text in (START, TARGET)))
    for command in (judge_command, distance_command):
        monkeypatch.setattr(command, "task_pair", lambda root, task, store, mirror: pair)
    monkeypatch.setattr(judge_command, "load_rubric", lambda root, task: read_rubric(Path("04.toml")))
    monkeypatch.setattr(judge_command, "known_rubrics", lambda root: ("4",))
    return tmp_path


def test_d_is_printed_and_signed(here, capsys):
    assert run(["judge", "half.py", "--task", "4", "--keys", "keys"]) == 0
    said = capsys.readouterr()
    path = Path(said.out.strip())
    assert path.parent == Path("judgements")
    assert "D = 0.75 (probes decide 80% of the weight)" in said.err
    assert re.search(r"3 +yes +squared-relu", said.err) and re.search(r"1 +no +padded", said.err)
    signed = read_judgement(path, trusted(Path("keys")))
    assert signed.trusted and signed.judgement.probes.value == 0.75 and signed.judgement.model is None


def test_json_has_d_and_no_l_and_verify_shows_the_same(here, capsys):
    assert run(["judge", "half.py", "--task", "4", "--keys", "keys", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["d"], answer["l"], answer["reliable"]) == (0.75, None, None)
    assert run(["judge", answer["path"], "--verify", "--keys", "keys", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["judgement"] == answer["judgement"] and again["trusted"]
    assert run(["judge", answer["path"], "--verify", "--keys", "other"]) == 1
    assert "not trusted" in capsys.readouterr().out


def test_verify_refuses_a_directory_and_options_that_it_would_ignore(here, capsys):
    assert run(["judge", "half.py", "--task", "4", "--keys", "keys"]) == 0
    path = capsys.readouterr().out.strip()
    assert run(["judge", "judgements", "--verify", "--keys", "keys"]) == 3
    assert run(["judge", path, "--verify", "--task", "5", "--keys", "keys"]) == 2
    assert run(["judge", path, "--verify", "--model", "model.toml", "--keys", "keys"]) == 2


def test_a_submission_and_a_run_are_judged_as_their_script_is(here, capsys):
    submission = here / "run" / "submission"
    submission.mkdir(parents=True)
    (submission / "train_gpt2.py").write_text(HALF)
    digests = set()
    for path in ("half.py", "run/submission", "run"):
        assert run(["judge", path, "--task", "4", "--keys", "keys", "--json"]) == 0
        digests.add(json.loads(capsys.readouterr().out)["submission_sha256"])
    assert len(digests) == 1


@pytest.mark.parametrize("command", ["judge", "distance"])
@pytest.mark.parametrize(
    ("task", "why"),
    [("3", "half.py is a single file, and the script of record 3 takes arguments"),
     ("78", "half.py is a single file, and the script of record 78 has 2 Python files")],
)  # fmt: skip
def test_one_file_of_a_larger_script_is_refused(here, capsys, command, task, why):
    assert run([command, "half.py", "--task", task]) == 2
    assert why in capsys.readouterr().err and not Path("judgements").exists()


def test_l_is_printed_with_its_controls_and_calls_are_kept(here, capsys):
    head = 'schema = "scripted-answers.v1"\n'
    Path("answers.toml").write_text(head + reply(1, "partly") + reply(2, "no") + reply(3, "yes"))
    argv = ["judge", "half.py", "--task", "4", "--keys", "keys", "--model", "scripted"]
    assert run([*argv, "--answers", "answers.toml"]) == 0
    said = capsys.readouterr()
    assert "L = 0.50, by not-a-model at script" in said.err
    assert said.err.count("control ") == 3 and "FAILED" not in said.err
    path = Path(said.out.strip())
    calls = sorted(path.with_suffix(".calls").glob("*.json"))
    assert len(calls) == 15
    score = read_judgement(path, trusted(Path("keys"))).judgement.model.score
    assert score.reliable and score.script.mean == 0.5
    before = [call.stat().st_mtime_ns for call in calls]
    calls[0].unlink()
    assert run([*argv, "--answers", "answers.toml"]) == 0
    assert [call.stat().st_mtime_ns for call in calls][1:] == before[1:], "recorded answers are used again"


def test_a_failed_control_is_told_and_exits_with_1(here, capsys):
    head = 'schema = "scripted-answers.v1"\n'
    Path("answers.toml").write_text(head + reply(1, "yes") + reply(2, "yes", "y = gelu(x)") + reply(3, "yes"))
    argv = ["judge", "half.py", "--task", "4", "--keys", "keys", "--model", "scripted"]
    assert run([*argv, "--answers", "answers.toml", "--samples", "2"]) == 1
    said = capsys.readouterr()
    assert "L = 1.00 (unreliable)" in said.err
    assert "control start: FAILED: L is 1.00, expected 0 within 0.1" in said.err


def test_calls_that_may_cost_too_much_are_not_made(here, capsys):
    Path("model.toml").write_text(
        'schema = "model-profile.v1"\nname = "p"\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\n'
        'token_parameter = "max_tokens"\nedit_format = "blocks"\n'
        "max_output_tokens = 500\ncontext_tokens = 9000\n"
    )
    argv = ["judge", "half.py", "--task", "4", "--keys", "keys", "--model", "model.toml", "--usd", "0.001"]
    assert run(argv) == 2
    assert "--usd needs prices in the profile" in capsys.readouterr().err
    with Path("model.toml").open("a") as f:
        f.write('prices = { prompt = 1.0, output = 2.0, date = "2026-01-01", source = "a test" }\n')
    assert run(argv) == 2
    assert "USD, more than --usd 0.001" in capsys.readouterr().err
    assert not Path("judgements").exists()


@pytest.mark.parametrize("argv", [["judge", "--calibrate"], ["rubric", "lint", "--upstream", "."]])
def test_a_rubric_of_a_lettered_task_is_tried(here, monkeypatch, argv):
    asked = []
    module = judge_command if argv[0] == "judge" else lint_command
    monkeypatch.setattr(module, "known_rubrics", lambda root: ("21c",))
    monkeypatch.setattr(module, "load_rubric", lambda root, task: SimpleNamespace(task=task))
    monkeypatch.setattr(module, "task_pair", lambda root, task, *more: asked.append(task))
    monkeypatch.setattr(module, "calibrate_task", lambda *parts: [], raising=False)
    monkeypatch.setattr(module, "lint_rubric", lambda *parts: [], raising=False)
    monkeypatch.setattr(module, "calibration_lines", lambda rows: [], raising=False)
    assert run(argv) == 0
    assert asked == ["21c"]


def test_calibrate_prints_a_table_and_what_it_leaves_out(here, capsys):
    assert run(["judge", "--calibrate"]) == 0
    said = capsys.readouterr()
    assert re.search(r"4 +target +1\.00 +1\.00 +ok", said.out)
    assert "half-done scripts are left out" in said.err
    Path("variants").mkdir()
    text = 'schema = "variant.v1"\nbase = "start"\ndone = ["squared-relu"]\n'
    Path("variants/04-nothing.toml").write_text(text)
    assert run(["judge", "--calibrate", "--variants", "variants", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    row = next(row for row in answer["rows"] if row["script"] == "half")
    assert (
        not row["within"] and row["wrong"] == ["squared-relu"] and answer["decisions"]["half"]["recall"] == 0
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["judge"], "the script is missing"),
        (["judge", "half.py"], "one --task is needed, 0 given"),
        (["judge", "half.py", "--task", "4", "--task", "5"], "one --task is needed, 2 given"),
        (["judge", "half.py", "--calibrate"], "--calibrate takes no script"),
        (["judge", "half.py", "--task", "4", "--model", "scripted"], "--model scripted needs --answers"),
        (["judge", "half.py", "--task", "4", "--variants", "."], "--variants needs --calibrate"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(here, capsys, argv, message):
    assert run(argv) == 2
    assert message in capsys.readouterr().err


def test_a_script_that_cannot_be_read_is_an_error(here, capsys):
    assert run(["judge", "none.py", "--task", "4"]) == 3
    assert "cannot read none.py" in capsys.readouterr().err
    Path("bad.py").write_text("def f(:\n")
    assert run(["judge", "bad.py", "--task", "4"]) == 4
    assert "cannot parse the script" in capsys.readouterr().err


def test_distance_is_printed_in_tokens(here, capsys):
    assert run(["distance", "half.py", "--task", "4"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("distance recovered: 0.")
    assert run(["distance", "half.py", "--task", "4", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["unit"] == "tokens" and answer["to_target"] == 1
    assert answer["recovered"] == 1 - 1 / answer["start_to_target"]


def test_rubrics_are_shown_and_checked(capsys):
    assert run(["rubric", "show", "4"]) == 0
    assert "squared-relu" in capsys.readouterr().out
    assert run(["rubric", "show", "6"]) == 2
    assert "task 6 has no rubric" in capsys.readouterr().err
    assert run(["rubric", "lint", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    count = len(known_rubrics(facts_root()))
    assert count >= 19 and answer == {"rubrics": count, "scores_checked": False, "findings": []}

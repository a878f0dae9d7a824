"""`agent run` and `agent resume` say what is wrong before anything starts, and what a run can cost."""

from __future__ import annotations

import json
import socket
import venv
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("scipy")

from agent_runs import ScriptReader, make_run, remember_edits, searched

from kit.agent.budget import Amounts, Budget, BudgetLimit, Spent
from kit.agent.events import BudgetStopped
from kit.agent.journal import JOURNAL, read_journal
from kit.agent.llm.key import NO_KEY
from kit.agent.llm.scripted import AnswerScript, ScriptedAnswer
from kit.agent.policy import POLICIES
from kit.agent.recorded import read_run
from kit.agent.session import AgentRun
from kit.agent.tree import Tree
from kit.cli import run
from kit.cli.agent.conduct import api_key, conduct, document, transport_of
from kit.cli.agent.progress import SearchProgress, spent_text
from kit.cli.times import OTHER_MACHINES
from kit.core.errors import PrerequisiteError

PROFILE = """
schema = "model-profile.v1"
name = "a model"
model = "m"
base_url = "https://endpoint.invalid/v1"
api_key_env = "AN_ENDPOINT_KEY"
token_parameter = "max_tokens"
max_output_tokens = 8000
context_tokens = 128000
edit_format = "blocks"
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, folder in (("HOME", "home"), ("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "cache")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    (tmp_path / "model.toml").write_text(PROFILE)
    return tmp_path


def agent(*words: str) -> int:
    return run(["agent", "run", "--runtime", "runc", "--task", "smoke-1", *words])


REFUSED = [
    (["--model", "missing.toml"], 3, "missing.toml"),
    (["--model", "model.toml", "--answers", "model.toml"], 2, "--answers needs --model scripted"),
    (["--model", "scripted", "--hints", "4"], 2, "is not a list of levels"),
    (["--model", "scripted", "--budget", "euros=5"], 2, "unknown budget key 'euros'"),
    (["--model", "scripted", "--knowledge", "no.md"], 3, "no.md"),
    (["--model", "model.toml", "--budget", "usd=5"], 2, "prices"),
    (["--model", "model.toml"], 3, "AN_ENDPOINT_KEY is not set"),
    ([], 2, "--model is missing"),
    (["--model", "scripted", "--target-time", "5"], 2, "pass --start-time"),
    (["--model", "scripted", "--profile", "full"], 2, "--profile smoke"),
    (["--model", "scripted", "--replay", "."], 3, "contains no run"),
    (["--model", "scripted", "--runtime", "host", "--retime", "2"], 2, "isolates the guest"),
    (["--model", "scripted", "--runtime", "host", "--python", "/bin/sh"], 3, "is not a working Python"),
]


@pytest.mark.parametrize(("words", "code", "said"), REFUSED)
def test_what_cannot_run_is_refused_and_leaves_nothing(
    words: list[str], code: int, said: str, here: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("AN_ENDPOINT_KEY", raising=False)
    assert agent(*words) == code
    assert said in capsys.readouterr().err
    assert not (here / "agent-runs").exists()


def test_the_plan_prints_the_most_and_writes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert agent("--model", "model.toml", "--plan", "--nodes", "4", "--controls", "1", "--retime", "2") == 0
    text = capsys.readouterr().out
    for line in (
        "nodes        4, and 1 control", "calls        16, with 3 repairs a node", "evaluations  5",
        "USD          unknown: the profile has no prices", "12 runs, 2 of the winner",
        "calls are bounded only by --budget wall=...", "The prompts fit: the first prompt has at most",
        "start 37.64 s, target 18.55 s (the machine of the smoke records)",
    ):  # fmt: skip
        assert line in text, text
    assert not (here / "agent-runs").exists()


def test_the_plan_as_json_has_the_spec_and_no_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AN_ENDPOINT_KEY", "sk-0123456789abcdefghij")
    assert agent("--model", "model.toml", "--plan", "--json", "--budget", "wall=3h") == 0
    text = capsys.readouterr().out
    plan = json.loads(text)
    assert plan["spec"]["task"] == "smoke-1" and plan["most"]["wall_s"] == 10800
    assert plan["most"]["nodes"] == 20 and plan["most"]["context"]["always_fits"]
    assert "sk-0123456789abcdefghij" not in text


def test_the_key_is_read_from_the_variable_that_the_profile_names(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kit.agent.llm.profile import load_profile

    profile = load_profile(here / "model.toml")
    monkeypatch.setenv("AN_ENDPOINT_KEY", "")
    with pytest.raises(PrerequisiteError, match="AN_ENDPOINT_KEY is not set"):
        api_key(profile)
    monkeypatch.setenv("AN_ENDPOINT_KEY", "k-12345678")
    assert api_key(profile).reveal() == "k-12345678"


def test_a_search_without_containers_needs_torch_before_it_spends_anything(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    venv.create(here / "empty", symlinks=True)
    python = here / "empty" / "bin" / "python"
    assert agent("--model", "scripted", "--runtime", "host", "--python", str(python)) == 3
    assert f"error: {python} has no torch" in capsys.readouterr().err
    assert not (here / "agent-runs").exists()


def test_resuming_needs_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["agent", "resume", "nothing"]) == 3
    assert "nothing contains no run" in capsys.readouterr().err


def test_a_replay_prints_the_head(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda fd: None)
    made = make_run(here)
    end = searched(made)
    assert run(["agent", "run", "--replay", str(made.folder)]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == end.head and "every line of the journal is the same" in captured.err
    shown = document(made, end, None)
    assert shown["winner"] == 2 and shown["head"] == end.head and len(shown["nodes"]) == 7
    assert "not a model" in repr(transport_of(made, NO_KEY))


def test_progress_has_a_line_for_each_node_s_begin_and_end(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda fd: None)
    made = make_run(here)
    progress = SearchProgress(made.spec)
    searched(made, written=progress.written)
    stop = BudgetStopped(BudgetLimit.EVALUATIONS, 1, 1, 1)
    progress.written(stop, Tree(), Spent())
    text = capsys.readouterr().err
    for line in (
        "node 1: control: the start script, unchanged", "node 2: draft from the start script",
        "node 3: draft from the start script", "  answer 1 refused: ", "node 4: buggy_crash: why",
        "node 5: debug node 4", "node 6: improve node 2", "  spent: 6 nodes, 7 evaluations, ",
        "stopped by the budget: 1 of 1 evaluations used; the next step can use up to 1",
    ):  # fmt: skip
        assert line in text, (line, text)


def test_what_was_spent_is_shown_with_its_limits() -> None:
    spent = Spent(Amounts(2, 3, 7200.0, 90.0, 1000, 500, 0.25), Amounts(prompt_tokens=1, usd=0.5))
    text = spent_text(spent, Budget(nodes=20, usd=5.0, gpu_seconds=72000.0, wall_s=3600.0), 8)
    assert text.startswith(
        "2 nodes of 20, 3 evaluations, 1,501 tokens, 0.75 USD of 5, 2.00 GPU-hours of 20, 1.5 min of 60"
    )
    assert "counted at their worst case" in text
    assert "GPU-hours" not in spent_text(Spent(), Budget(), 0)


@pytest.fixture
def injected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluate without a container."""
    monkeypatch.setattr("os.fsync", lambda fd: None)
    monkeypatch.setattr(AgentRun, "evaluator", lambda run, hooks: ScriptReader(run))
    remember_edits(monkeypatch)


def test_a_whole_run_ends_with_0_and_a_signed_summary(
    here: Path, injected: None, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_run(here)
    assert conduct(made, 0, True) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["winner"], report["ended"], report["stopped_by"]) == (2, "complete", None)
    assert report["head"] == read_journal(made.folder / JOURNAL).head
    assert (made.folder / "summary.json").is_file()
    assert "this is not a model" in captured.err
    assert conduct(made, 0, False) == 0, "a finished run is only shown"
    captured = capsys.readouterr()
    assert captured.out.strip() == str(made.folder)
    assert "winner: node 2, 2.0" in captured.err and "by noise alone" in captured.err


@pytest.mark.parametrize(("evaluations", "code", "winner"), [(2, 0, 2), (1, 1, None)])
def test_a_run_that_its_budget_stops_ends_with_0_if_a_node_reached_the_loss(
    here: Path, injected: None, capsys: pytest.CaptureFixture[str],
    evaluations: int, code: int, winner: int | None,
) -> None:  # fmt: skip
    made = make_run(here, budget=Budget(evaluations=evaluations))
    assert conduct(made, 0, True) == code
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["ended"], report["stopped_by"], report["winner"]) == ("budget", "evaluations", winner)
    assert not report["interrupted"] and (made.folder / "summary.json").is_file()
    assert "warning: stopped by the budget" in captured.err
    assert conduct(made, 0, True) == code, "its end is an end: nothing goes on"


def test_a_closed_port_ends_with_3_after_a_few_attempts_that_are_shown(
    here: Path, injected: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai")
    monkeypatch.setattr("kit.agent.llm.retry.BACKOFF_MIN_S", 0.01)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        changes = (('base_url = "https://endpoint.invalid/v1"', f'base_url = "{url}"'), ("api_key_env", "#"))
        text = PROFILE
        for old, new in changes:
            text = text.replace(old, new)
        (here / "closed.toml").write_text(text)
        assert agent("--model", "closed.toml", "--nodes", "2") == 3
        said = capsys.readouterr().err
        assert f"warning: {OTHER_MACHINES}\n" in said
        assert agent("--model", "closed.toml", "--nodes", "2", "--start-time", "30s") == 3
        assert OTHER_MACHINES not in capsys.readouterr().err
    for attempt in (1, 2):
        assert f"  attempt {attempt} of 3 failed: unreachable: cannot connect to {url}: " in said
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: cannot connect to {url}: ") and "3 attempts" in line
    assert "then resume the run" in said
    assert f"model m at {url}, with no key" in said
    folders = list((here / "agent-runs").iterdir())
    assert len(folders) == 2, "another start time makes another run"
    for folder in folders:
        spent = read_run(folder).spent.charged
        assert (spent.prompt_tokens, spent.completion_tokens) == (0, 0), "no request was made"


def test_a_run_without_a_valid_node_ends_with_1(here: Path, injected: None) -> None:
    script = AnswerScript((ScriptedAnswer("no edit"),))
    policy = replace(POLICIES["flat"], max_nodes=2)
    made = make_run(here, script=script, model=script.profile(), policy=policy, controls=0)
    assert conduct(made, 3, True) == 1


def test_an_interrupted_run_ends_with_130_and_says_how_to_go_on(
    here: Path, injected: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_run(here)
    with monkeypatch.context() as patch:
        patch.setattr("kit.cli.agent.conduct.cancellable", lambda: nullcontext(lambda: True))
        assert conduct(made, 0, True) == 130
    assert f"to go on: speedrun agent resume {made.folder}" in capsys.readouterr().err
    assert not (made.folder / "summary.json").exists()
    assert conduct(made, 0, True) == 0

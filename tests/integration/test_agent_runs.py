"""
Real searches on smoke-3: answers from a file or a loopback server, evaluations in containers. No model.

One three-node run for each scaffold, kills of the program at three places, a budget, and replays.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dying
import pytest
from agent_runs import make_run, searched
from conftest import SPEEDRUN, verify
from model_server import MODEL, Reply, completion, serving

from kit.agent.events import (
    CallEnded,
    CallLost,
    EvaluationLost,
    Event,
    Resumed,
)
from kit.agent.journal import JOURNAL, read_journal
from kit.agent.retiming import retime_winner
from kit.agent.session import RunHooks
from kit.cli.options import default_store
from kit.core.store import Store
from kit.evaluate.audits import AuditSelection
from kit.evaluate.run import Listener

pytestmark = pytest.mark.container
ANSWERS = Path(__file__).parents[1] / "assets" / "agent_answers.toml"
WAIT_S = 600.0
GOOD, REFUSED, CRASH = "valid_improved", "edit_failed", "buggy_crash"


class Runs:
    """Runs the command with one directory for everything."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.places = ["--keys", str(base / "keys"), "--runtime", "runc"]

    def command(self, *arguments: str) -> list[str]:
        return [*SPEEDRUN, "agent", *arguments, *self.places]

    def start(self, *more: str) -> list[str]:
        out = ["--task", "smoke-3", "--out", str(self.base / "agent-runs"), "--json"]
        return self.command("run", *out, *more)

    def scripted(self, *more: str) -> subprocess.CompletedProcess[str]:
        return done(self.start("--model", "scripted", "--answers", str(ANSWERS), "--nodes", "3", *more))


def done(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, cpu_image: None) -> Runs:
    return Runs(tmp_path_factory.mktemp("agent"))


@pytest.fixture(scope="module")
def reports(runs: Runs) -> Callable[[str], dict[str, Any]]:
    """The report of one run of each scaffold."""
    made: dict[str, subprocess.CompletedProcess[str]] = {}

    def report(scaffold: str) -> dict[str, Any]:
        if scaffold not in made:
            made[scaffold] = runs.scripted("--scaffold", scaffold, "--budget", "repairs=1")
        assert made[scaffold].returncode == 0, made[scaffold].stderr
        report: dict[str, Any] = json.loads(made[scaffold].stdout)
        return report

    return report


PARENTS = {
    "flat": (0, 0, 0),
    "tree": (0, 1, 1),  # if node 1 is faster than the start script: a busy machine can make it slower
    "forest": (0, 0, 0),
    "aide": (0, 0, 0),
    "multi-aide": (0, 0, 0),
}


@pytest.mark.parametrize("scaffold", PARENTS)
def test_three_real_nodes_of_each_scaffold(
    runs: Runs, reports: Callable[[str], dict[str, Any]], scaffold: str
) -> None:
    report = reports(scaffold)
    statuses = [n["status"] for n in report["nodes"]]
    parents = PARENTS[scaffold] if statuses[0] == GOOD else (0, 0, 0)
    assert tuple(n["parent"] for n in report["nodes"]) == parents
    assert statuses[0].startswith("valid_") and statuses[1:] == [CRASH, REFUSED]
    assert (report["winner"], report["ended"], report["interrupted"]) == (1, "complete", False)
    assert report["spent"]["evaluations"] == 2 and report["spent"]["usd"] == 0
    for node in report["nodes"][:2]:
        assert verify(Path(report["folder"]) / "bundles" / node["run_id"], runs.base / "keys").returncode == 0


def test_a_crash_is_told_to_the_model_with_its_traceback(reports: Callable[[str], dict[str, Any]]) -> None:
    report = reports("tree")
    folder = Path(report["folder"])
    if report["nodes"][0]["status"] != GOOD:
        pytest.skip(
            "node 1 was no faster than the start script on this busy machine, so node 3 has another parent"
        )
    prompt = (folder / "nodes" / "003" / "prompt.md").read_text()
    assert "The script reached the target loss." in prompt and "Attempt 2: crashed" in prompt
    assert "this_name_does_not_exist" in prompt


def test_a_real_run_is_replayed_byte_for_byte(runs: Runs, reports: Callable[[str], dict[str, Any]]) -> None:
    report = reports("aide")
    replayed = done(runs.command("run", "--replay", report["folder"]))
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout.strip() == report["head"]
    (Path(report["folder"]) / "calls" / "002-02.json").unlink()
    missed = done(runs.command("run", "--replay", report["folder"]))
    assert missed.returncode == 4 and "no recorded answer for node 2, call 2" in missed.stderr


def test_a_run_ends_at_its_budget_and_says_so(runs: Runs) -> None:
    ended = runs.scripted("--scaffold", "flat", "--budget", "evaluations=1,repairs=0", "--seed", "9")
    report = json.loads(ended.stdout)
    assert ended.returncode == 0, ended.stderr
    assert (report["ended"], report["stopped_by"]) == ("budget", "evaluations")
    assert report["spent"]["evaluations"] == 1 and len(report["nodes"]) == 1
    assert "stopped by the budget: 1 of 1 evaluations used" in ended.stderr


def events_of(folder: Path) -> tuple[Event, ...]:
    path = folder / JOURNAL
    return read_journal(path).events if path.is_file() else ()


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + WAIT_S
    while not what():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < end
        time.sleep(0.02)


def killed(command: list[str], when: Callable[[], bool], env: dict[str, str]) -> None:
    """Run a command and kill it with SIGKILL as soon as `when` says so."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=env)
    with process:
        try:
            wait_for(when, process)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL


KILLED_AT = """
import sys
import dying
from dying import Point
from kit import cli
from kit.evaluate import run
dying.POINTS[""] = {point!r}
dying.at_point("", "kill")
sys.exit(cli.run(sys.argv[1:]))
"""
WHILE_THE_GUEST_RUNS = dying.Point("kit.sandbox.supervise._attend", about="guest.log")
BETWEEN_NODES = dying.Point("kit.agent.search._solve", after=True)


def killed_at(point: dying.Point, command: list[str], env: dict[str, str]) -> None:
    """Run a command that kills itself at a point: however slow the machine is, it does not get further."""
    code = KILLED_AT.format(point=point)
    argv = [sys.executable, "-c", code, *command[len(SPEEDRUN) :]]
    env = {**env, "PYTHONPATH": str(Path(dying.__file__).parent)}
    ended = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


KEY = "sk-test-0123456789abcdefghij"
PROFILE = """
schema = "model-profile.v1"
name = "loopback server, not a model"
model = "{model}"
base_url = "{url}"
api_key_env = "TEST_ENDPOINT_KEY"
token_parameter = "max_tokens"
max_output_tokens = 2000
context_tokens = 100000
edit_format = "blocks"
[prices]
prompt = 1.0
output = 2.0
date = "2026-11-29"
source = "a test"
"""
EDIT = tomllib.loads(ANSWERS.read_text())["answer"][2]["text"]
"""It crashes before torch is imported, so that an evaluation is short."""


@pytest.fixture
def model(tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    """A loopback server that never answers its first request, and its profile."""
    with serving(Reply(b"", hang=True), completion(EDIT)) as server:
        path = tmp_path / "model.toml"
        path.write_text(PROFILE.format(url=server.url, model=MODEL))
        yield server, path


def test_kills_in_a_call_in_an_evaluation_and_between_nodes_lose_nothing(
    runs: Runs, model: tuple[Any, Path]
) -> None:
    server, profile = model
    env = {**os.environ, "TEST_ENDPOINT_KEY": KEY}
    start = runs.start("--model", str(profile), "--scaffold", "flat", "--nodes", "2", "--budget", "usd=9")
    refused = done(start)
    assert refused.returncode == 3 and "TEST_ENDPOINT_KEY is not set" in refused.stderr

    planned = subprocess.run([*start, "--plan"], capture_output=True, text=True, check=True, env=env)
    folder = Path(json.loads(planned.stdout)["folder"])
    assert not folder.exists()
    killed(start, lambda: len(server.requests) == 1, env)
    resume = runs.command("resume", str(folder), "--json")

    killed_at(WHILE_THE_GUEST_RUNS, resume, env)
    killed_at(BETWEEN_NODES, resume, env)
    ended = subprocess.run(resume, capture_output=True, text=True, check=False, env=env, timeout=WAIT_S)
    assert ended.returncode == 1, ended.stderr
    report, events = json.loads(ended.stdout), events_of(folder)
    assert [n["status"] for n in report["nodes"]] == [CRASH, CRASH]
    assert sum(isinstance(e, Resumed) for e in events) == 3
    lost, answered = (sum(isinstance(e, kind) for e in events) for kind in (CallLost, CallEnded))
    assert lost >= 1 and answered == 2
    assert sum(isinstance(e, EvaluationLost) for e in events) >= 1
    assert 1 + answered <= len(server.requests) <= lost + answered, "only lost calls were asked again"
    assert 0 < report["spent"]["usd"] < 1
    for path in folder.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path

    replayed = done(runs.command("run", "--replay", str(folder)))
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout.strip() == report["head"]


def test_a_winner_is_timed_again_in_a_real_series(tmp_path: Path, cpu_image: None) -> None:
    """The search itself is an injected one; without audits the series is one run."""
    run = make_run(tmp_path)
    searched(run)
    run = replace(run, places=replace(run.places, store=Store(default_store())))
    again = retime_winner(run, 1, RunHooks(), lambda plan: Listener(), AuditSelection())
    assert again is not None and again.event.mean_ms is not None
    assert (again.event.node, again.event.runs, again.event.reached) == (2, 1, 1)
    assert again.event.mean_ms > 0 and 2000 <= again.event.search_ms < 2100
    assert read_journal(run.folder / JOURNAL).events[-1] == again.event
    shown = done([*SPEEDRUN, "series", str(again.series), "--keys", str(run.places.keys)])
    assert shown.returncode in (0, 1), shown.stderr

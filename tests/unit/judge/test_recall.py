"""A model that knows a target from memory is told from one that does not, and nothing is given away."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_server import MODEL, completion, error, serving

from kit.agent.llm.client import LiveTransport
from kit.agent.llm.key import NO_KEY
from kit.agent.llm.profile import CallTimeouts, EditFormat, ModelProfile, TokenParameter
from kit.agent.llm.retry import RetryLoop
from kit.benchmark import records
from kit.benchmark.tasks import load_task
from kit.cli import run
from kit.core.digest import files_under
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.judge.recall import (
    Recall,
    RecallModel,
    RecallTask,
    RecallVerdict,
    line_keys,
    new_lines,
    recall_messages,
)


@pytest.fixture(scope="module")
def script_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    store = Store(tmp_path_factory.mktemp("store"))

    def files(name: str) -> dict[str, bytes]:
        folder = records.fetch_script(records.load(facts_root() / "records", name), store, records.nowhere)
        return {path: (folder / path).read_bytes() for path in files_under(folder)}

    return files


def test_a_line_of_escaped_quotes_is_not_read_for_minutes() -> None:
    began = time.process_time()
    assert not line_keys("\\'" * 20_000)
    assert time.process_time() - began < 10


def task_of(name: str, script_of: Callable[[str], dict[str, bytes]]) -> RecallTask:
    task = load_task(facts_root(), name)
    target = task.target.name
    return RecallTask(task.name, target, script_of(name), script_of(target), "train_gpt2.py", None)


def whole_file(files: dict[str, bytes]) -> str:
    return f"train_gpt2.py\n```\n{files['train_gpt2.py'].decode()}\n```\n"


@pytest.fixture
def answers(tmp_path: Path, script_of: Callable[[str], dict[str, bytes]]) -> Path:
    """A script that knows the target of smoke-1, a part of that of smoke-2, and not that of smoke-3."""
    (tmp_path / "known.md").write_text(whole_file(script_of("smoke-2")))
    new = sorted(new_lines(script_of("smoke-2"), script_of("smoke-3")))
    (tmp_path / "part.md").write_text("\n".join(["I remember this:", *new[: max(1, len(new) // 4)]]))
    path = tmp_path / "answers.toml"
    path.write_text(
        'schema = "scripted-answers.v1"\n'
        '[[answer]]\ntask = "smoke-1"\nfile = "known.md"\n'
        '[[answer]]\ntask = "smoke-2"\nfile = "part.md"\n'
        '[[answer]]\ntask = "smoke-3"\ntext = "UNKNOWN."\n'
    )
    return path


def asked(tmp_path: Path, answers: Path, *more: str) -> list[str]:
    places = ["--out", str(tmp_path / "probes"), "--store", str(tmp_path / "store")]
    return ["agent", "probe", "--model", "scripted", "--answers", str(answers), *places, *more]


def test_a_model_that_knows_one_target_and_not_another(
    tmp_path: Path, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--task", "smoke-1", "--task", "smoke-3", "--samples", "2", "--json")
    assert run(asked(tmp_path, answers, *words)) == 1
    one, two = json.loads(capsys.readouterr().out)["tasks"]
    assert (one["verdict"], one["share"]) == ("knows", 1.0)
    assert [s["recovered"] for s in one["samples"]] == [1.0, 1.0]
    assert (two["verdict"], two["share"]) == ("not_shown", 0.0)
    assert [(s["says_unknown"], s["recovered"]) for s in two["samples"]] == [(True, None)] * 2
    assert one["target_before_cutoff"] is None and one["target_date"]
    assert run(asked(tmp_path, answers, "--task", "smoke-3")) == 0
    assert "not in the profile" in capsys.readouterr().out


def test_a_part_of_a_target_is_known_in_part(
    tmp_path: Path, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(asked(tmp_path, answers, "--task", "smoke-2", "--samples", "1", "--json")) == 1
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert task["verdict"] == "partly" and 0.1 <= task["share"] < 0.5
    assert task["samples"][0]["recovered"] is None


def test_recorded_answers_are_used_again(
    tmp_path: Path, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = asked(tmp_path, answers, "--task", "smoke-3", "--samples", "2")
    assert run(words) == 0
    assert capsys.readouterr().err.count("answered") == 2
    assert run(words) == 0
    assert "answered" not in capsys.readouterr().err


def test_no_answer_is_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = tmp_path / "answers.toml"
    answers.write_text('schema = "scripted-answers.v1"\n[[answer]]\ntask = "smoke-2"\ntext = "x"\n')
    assert run(asked(tmp_path, answers, "--task", "smoke-1", "--json")) == 5
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert (task["verdict"], task["share"]) == ("no_answer", None)
    assert task["samples"][0]["fault"].startswith("empty")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "--task is missing"),
        (("--task", "smoke-1", "--usd", "0"), ""),
        (("--task", "99"), "99"),
    ],
)
def test_what_cannot_be_asked(
    tmp_path: Path, answers: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], told: str
) -> None:
    code = run(asked(tmp_path, answers, *more))
    assert (code == 2 and told in capsys.readouterr().err) if told else code == 1


def test_the_prompt_has_nothing_of_the_target(script_of: Callable[[str], dict[str, bytes]]) -> None:
    task = task_of("smoke-1", script_of)
    text = "\n".join(message.content for message in recall_messages(profile("http://127.0.0.1:1/v1"), task))
    assert "record smoke-1" in text and "record smoke-2" in text and "SEARCH" in text
    assert not new_lines(task.start, task.target) & line_keys(text)


def test_lines_are_compared_by_their_tokens() -> None:
    assert line_keys("x = f( a,b )  # why") == line_keys("    x = f(a, b)")
    assert not line_keys("return x") and not line_keys("# a comment of many words")
    assert line_keys("x = torch.cat([a,")
    assert not line_keys("'unterminated") and not line_keys("((((((((")


def profile(url: str, **changes: Any) -> ModelProfile:
    fields: dict[str, Any] = {
        "name": "test", "model": MODEL, "base_url": url, "token_parameter": TokenParameter.MAX_TOKENS,
        "max_output_tokens": 1000, "context_tokens": 100_000, "edit_format": EditFormat.BLOCKS,
        "timeouts": CallTimeouts(60.0, 60.0), "knowledge_cutoff": "2024-06-01",
    }  # fmt: skip
    return ModelProfile(**{**fields, **changes})


def test_answers_of_an_endpoint_are_compared(script_of: Callable[[str], dict[str, bytes]]) -> None:
    task = task_of("smoke-1", script_of)
    replies = completion(whole_file(task.target)), completion("UNKNOWN"), error(400, "no")
    with serving(*replies) as server:
        asked = profile(server.url)
        transport = LiveTransport(asked, NO_KEY, RetryLoop(random.Random(0)))
        found: Recall = RecallModel(asked, transport).ask(task, 3)
    assert [s.fault is None for s in found.samples] == [True, True, False]
    assert found.verdict is RecallVerdict.KNOWS and found.share == 1.0
    assert [s.says_unknown for s in found.samples] == [False, True, False]
    assert len(server.requests) == 3

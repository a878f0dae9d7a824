"""Recorded calls come back exactly; a call that was not recorded is an error that says what differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kit.agent.llm.record import (
    CallRecord,
    outcome_sha256,
    read_record,
    record_path,
    request_sha256,
    write_record,
)
from kit.agent.llm.replay import ReplayTransport
from kit.agent.llm.scripted import MODEL, AnswerScript, ScriptedAnswer, ScriptedTransport, load_script
from kit.agent.llm.wire import (
    Attempt,
    CallFault,
    CallKey,
    CallOutcome,
    ChatRequest,
    ChatResponse,
    ChatRole,
    Message,
    TokenUsage,
)
from kit.core.errors import IntegrityError, KitError, PrerequisiteError, SchemaError

REQUEST = ChatRequest(
    "m",
    (Message(ChatRole.SYSTEM, "Rules.\nBe brief."), Message(ChatRole.USER, "Line 1\nLine 2\nLine 3")),
    64,
    (("extra", {"a": [1, None]}), ("seed", 7), ("temperature", 0.5)),
)
RESPONSE = ChatResponse("an \U0001f600 answer", None, "stop", TokenUsage(1, None), "m", "m", None, "req-1")
GOOD = CallOutcome(
    RESPONSE,
    None,
    (
        Attempt(1, CallFault.OVERLOADED, 503, 0.0, 0.25, None, None, "busy"),
        Attempt(2, None, 200, 2.5, 1.0, "req-1"),
    ),
)
BAD = CallOutcome(None, CallFault.TIMEOUT, (Attempt(1, CallFault.TIMEOUT, None, 0.0, 9.0),), "no answer")


def record(folder: Path, outcome: CallOutcome) -> Path:
    return write_record(folder, CallRecord(CallKey(1, 1), REQUEST, outcome))


def ask(transport: object, request: ChatRequest = REQUEST, node: int = 1, call: int = 1) -> CallOutcome:
    outcome = transport.call(request, CallKey(node, call), 1e6, lambda: False)  # type: ignore[attr-defined]
    assert isinstance(outcome, CallOutcome)
    return outcome


@pytest.mark.parametrize("outcome", [GOOD, BAD])
def test_a_recorded_outcome_is_replayed_exactly(tmp_path: Path, outcome: CallOutcome) -> None:
    record(tmp_path, outcome)
    assert ask(ReplayTransport(tmp_path)) == outcome


def test_two_records_of_the_same_call_have_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_record(tmp_path / n, CallRecord(CallKey(1, 1), REQUEST, GOOD)) for n in "ab")
    assert first.read_bytes() == second.read_bytes() and first.name == second.name


def test_the_digests_depend_on_request_and_outcome() -> None:
    other = replace(REQUEST, max_output_tokens=65)
    assert request_sha256(REQUEST) != request_sha256(other)
    assert outcome_sha256(GOOD) != outcome_sha256(replace(GOOD, response=replace(RESPONSE, text="an answer")))


def test_each_place_has_its_own_file(tmp_path: Path) -> None:
    names = {record_path(tmp_path, CallKey(n, c)).name for n in (1, 23) for c in (1, 4)}
    assert names == {"001-01.json", "001-04.json", "023-01.json", "023-04.json"}


MISSES = [
    (replace(REQUEST, model="n"), (1, 1), "request.model: line 1, character 1: 'm' recorded, 'n' asked"),
    (replace(REQUEST, max_output_tokens=65), (1, 1), "request.max_output_tokens: 64 recorded, 65 asked"),
    (
        replace(REQUEST, parameters=(("extra", {"a": [2, None]}), ("seed", 7), ("temperature", 0.5))),
        (1, 1),
        "request.parameters.extra.a[0]: 1 recorded, 2 asked",
    ),
    (
        replace(REQUEST, parameters=(("extra", {"a": [1, None]}), ("temperature", 0.5))),
        (1, 1),
        "request.parameters.seed: only in the record",
    ),
    (
        replace(REQUEST, messages=(REQUEST.messages[0], Message(ChatRole.USER, "Line 1\nLine 2.\nLine 3"))),
        (1, 1),
        "request.messages[1].content: line 2, character 14: ",
    ),
    (replace(REQUEST, messages=REQUEST.messages[:1]), (1, 1), "request.messages: 2 recorded, 1 asked"),
    (REQUEST, (2, 1), "place.node: 1 recorded, 2 asked"),
    (REQUEST, (1, 3), "place.call: 1 recorded, 3 asked"),
]


@pytest.mark.parametrize(("request_", "place", "line"), MISSES)
def test_a_miss_names_the_field_that_differs(
    tmp_path: Path, request_: ChatRequest, place: tuple[int, int], line: str
) -> None:
    record(tmp_path, GOOD)
    far = ChatRequest("other", (Message(ChatRole.USER, "something else"),), 1)
    write_record(tmp_path, CallRecord(CallKey(9, 9), far, BAD))
    with pytest.raises(IntegrityError) as e:
        ask(ReplayTransport(tmp_path), request_, *place)
    assert e.value.headline == f"no recorded answer for node {place[0]}, call {place[1]}"
    assert e.value.details[0] == "the nearest record is node 1, call 1, which differs in:"
    assert len(e.value.details) == 2 and e.value.details[1].startswith(line)


def test_a_replay_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="has no records"):
        ask(ReplayTransport(tmp_path))
    with pytest.raises(PrerequisiteError, match="does not exist"):
        ReplayTransport(tmp_path / "calls")


def test_a_record_of_another_place_is_noticed(tmp_path: Path) -> None:
    record(tmp_path, GOOD).rename(tmp_path / "001-02.json")
    with pytest.raises(IntegrityError, match="the record of node 1, call 1"):
        ask(ReplayTransport(tmp_path), call=2)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"schema": "model-call.v1"}', b'{"schema": "x"}'])
def test_a_file_that_is_no_record_is_an_error(tmp_path: Path, data: bytes) -> None:
    path = record_path(tmp_path, CallKey(1, 1))
    path.write_bytes(data)
    with pytest.raises(SchemaError):
        read_record(path)


SCRIPT = """
schema = "scripted-answers.v1"
[[answer]]
text = "any"
[[answer]]
task = "smoke-1"
text = "one"
[[answer]]
task = "smoke-1"
node = 2
file = "answers/two.md"
[[answer]]
task = "smoke-1"
node = 2
call = 2
text = "repaired"
[[answer]]
task = "smoke-2"
node = 3
text = ""
[[answer]]
task = "smoke-2"
node = 4
text = "half"
finish_reason = "length"
"""


@pytest.fixture
def script(tmp_path: Path) -> AnswerScript:
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "two.md").write_text("two\n")
    (tmp_path / "script.toml").write_text(SCRIPT)
    return load_script(tmp_path / "script.toml")


CHOSEN = [
    ("smoke-1", 1, 1, "one"),
    ("smoke-1", 2, 1, "two\n"),
    ("smoke-1", 2, 2, "repaired"),
    ("smoke-1", 3, 2, "one"),
    ("smoke-2", 2, 2, "any"),
]


@pytest.mark.parametrize(("task", "node", "call", "text"), CHOSEN)
def test_the_answer_that_names_most_of_the_call_is_given(
    script: AnswerScript, task: str, node: int, call: int, text: str
) -> None:
    outcome = ask(ScriptedTransport(script, task), REQUEST, node, call)
    assert outcome.fault is None and outcome.response is not None
    assert outcome.response.text == text
    assert outcome.response.usage == TokenUsage() and outcome.response.answered_model == MODEL
    assert len(outcome.attempts) == 1


def test_a_script_s_answer_is_judged_like_an_endpoint_s(script: AnswerScript) -> None:
    transport = ScriptedTransport(script, "smoke-2")
    assert ask(transport, node=3).fault is CallFault.EMPTY
    assert ask(transport, node=4).fault is CallFault.LENGTH


def test_a_script_without_a_fitting_answer_says_so() -> None:
    transport = ScriptedTransport(AnswerScript((ScriptedAnswer("x", node=1),)), "smoke-1")
    outcome = ask(transport, node=2)
    assert outcome.fault is CallFault.EMPTY and outcome.response is None
    assert outcome.detail == "the script (not a model) has no answer for task smoke-1, node 2, call 1"


def test_a_script_is_called_a_model_nowhere(script: AnswerScript) -> None:
    profile = script.profile()
    assert "not a model" in profile.name and profile.model == "not-a-model" and profile.is_scripted
    assert any("not a model" in warning for warning in profile.warnings())
    assert "not a model" in repr(ScriptedTransport(script, "smoke-1"))
    assert profile.prices is None


def test_the_profile_of_a_script_names_its_answers(script: AnswerScript) -> None:
    other = AnswerScript((*script.answers[:-1], replace(script.answers[-1], text="other")))
    assert script.profile().sha256() != other.profile().sha256()
    assert script.profile().sha256() == AnswerScript(script.answers).profile().sha256()


WRONG = [
    ('text = "x"\nfile = "y"', "script.toml"),
    ("node = 1", "script.toml"),
    ('text = "x"\nnode = 0', "node"),
    ('file = "missing.md"', "missing.md"),
    ('file = "../outside.md"', "outside the script's directory"),
]


@pytest.mark.parametrize(("lines", "message"), WRONG)
def test_a_wrong_script_is_an_error(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "s" / "script.toml"
    path.parent.mkdir()
    (tmp_path / "outside.md").write_text("x")
    path.write_text(f'schema = "scripted-answers.v1"\n[[answer]]\n{lines}\n')
    with pytest.raises(KitError, match=message):
        load_script(path)

"""The scan for leaks finds each kind that is planted into a recorded request, and none in an honest one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from agent_runs import make_run, searched
from fake_search import FakeTransport, make_spec
from fake_search import run as run_fake
from leak_scan import Sentinel, scan, script_text, sentinels

from kit.agent.calls import CALLS
from kit.agent.llm.key import REDACTED
from kit.agent.llm.record import CallRecord, read_record, write_record
from kit.agent.llm.wire import CallKey, CallOutcome, ChatRequest, ChatResponse, ChatRole, Message, TokenUsage
from kit.agent.node import ActionKind
from kit.agent.prompt import NodeView, PromptTask, first_messages
from kit.benchmark.hints import HintLevel, load_hint
from kit.benchmark.records import load
from kit.benchmark.tasks.smoke_task import smoke_task_handout
from kit.core.facts import facts_root

TASK, HINTS = "smoke-1", (1,)
KEY = "a-secret-key-of-an-endpoint"
ROOT = facts_root()
START = script_text("smoke-1")
TARGET = script_text("smoke-2")
TEXT = smoke_task_handout(load(ROOT / "records", TASK), ())
HINT = load_hint(ROOT, TASK, HintLevel.PSEUDOCODE)
TARGET_LINE = "self.before = nn.Parameter(torch.randn(VOCAB, WIDTH) * 0.02)"


def sought(
    task: str = TASK, hints: tuple[int, ...] = HINTS, store: Path | None = None
) -> tuple[Sentinel, ...]:
    allowed = "\n".join((TEXT, START, *([HINT.text] if hints else [])))
    return sentinels(task, hints, TARGET, allowed, KEY, [store] if store else ())


def long_line(level: HintLevel) -> str:
    return next(line for line in load_hint(ROOT, TASK, level).text.splitlines() if len(line) > 80)


def recorded(folder: Path, *planted: str, answer: str = "no edit") -> Path:
    """Record a call for each planted text, in an otherwise honest request; return the run."""
    view = NodeView(ActionKind.DRAFT, {"train_gpt2.py": START.encode()})
    honest = first_messages(PromptTask(TEXT, (HINT,)), view)
    for node, text in enumerate(planted, start=1):
        messages = (*honest, Message(ChatRole.USER, f"before {text} after"))
        response = ChatResponse(answer, None, "stop", TokenUsage(), "m", "m", None, None)
        outcome = CallOutcome(response, None, ())
        write_record(folder / CALLS, CallRecord(CallKey(node, 1), ChatRequest("m", messages, 9), outcome))
    return folder


def test_an_honest_request_has_no_leak(tmp_path: Path) -> None:
    assert scan(recorded(tmp_path, "nothing"), sought()) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("target line", TARGET_LINE),
        ("hint", long_line(HintLevel.PAPER)),
        ("hint", long_line(HintLevel.DESCRIPTION)),
        ("marker", "orthogonalised with muon"),
        ("marker", "scaled_dot_product_attention"),
        ("later record", "smoke-3"),
        ("later record", load(ROOT / "records", "smoke-3").title),
        ("key", KEY),
        ("key", REDACTED),
        ("path", str(Path.home() / "x.py")),
        ("path", f"{Path.cwd()}/y"),
        ("path", f"{tempfile.gettempdir()}/z"),
    ],
)  # fmt: skip
def test_a_planted_leak_is_found(tmp_path: Path, kind: str, text: str) -> None:
    leaks = scan(recorded(tmp_path, "nothing", text), sought())
    assert {leak.place for leak in leaks} == {"node 2, call 1"}
    assert kind in {leak.sentinel.kind for leak in leaks}, leaks


def test_the_store_is_a_path_of_the_host(tmp_path: Path) -> None:
    store = Path("/srv/a-store")
    (leak,) = scan(recorded(tmp_path, f"{store}/blobs"), sought(store=store))
    assert leak.sentinel == Sentinel("path", str(store))


def test_without_a_hint_the_words_of_the_target_are_leaks_too(tmp_path: Path) -> None:
    words = {s.text for s in sought(hints=()) if s.kind == "marker"}
    assert "token before" in words
    assert "token before" not in {s.text for s in sought() if s.kind == "marker"}


def test_what_the_model_wrote_itself_is_no_leak_in_later_requests(tmp_path: Path) -> None:
    folder = recorded(tmp_path, "nothing", TARGET_LINE, answer=f"I write\n        {TARGET_LINE}\n")
    assert scan(folder, sought()) == []


def test_the_model_cannot_excuse_a_key(tmp_path: Path) -> None:
    assert len(scan(recorded(tmp_path, "nothing", KEY, answer=KEY), sought())) == 1


def test_a_whole_search_is_scanned(tmp_path: Path) -> None:
    run_fake(tmp_path, make_spec("aide"), transport=FakeTransport())
    assert scan(tmp_path, sought()) == []
    assert len(scan(tmp_path, [Sentinel("hint", "You edit a script.")])) > 20


def test_a_run_without_calls_is_not_called_clean(tmp_path: Path) -> None:
    (tmp_path / CALLS).mkdir()
    with pytest.raises(AssertionError, match="no recorded call"):
        scan(tmp_path, sought())


@pytest.mark.parametrize("task", ["1", "3", "8", "20"])
def test_upstreams_tasks_have_sentinels_of_every_kind(task: str) -> None:
    kinds = {s.kind for s in sentinels(task, (1,), TARGET, "", KEY)}
    assert {"hint", "later record", "key", "path", "target line"} <= kinds
    assert ("marker" in kinds) == (task != "20")


@pytest.mark.parametrize("hints", [(), (1,), (1, 2, 3)])
def test_the_real_prompts_of_a_search_have_no_leak(tmp_path: Path, hints: tuple[int, ...]) -> None:
    run = make_run(tmp_path, hints=hints, seed=5)
    end = searched(run)
    assert len(end.tree.searched) == 6
    allowed = "\n".join((run.task.text, script_text("smoke-3"), *(hint.text for hint in run.task.hints)))
    paths = (tmp_path, run.places.store.root)
    every = sentinels("smoke-3", hints, script_text("smoke-4"), allowed, paths=paths)
    assert scan(run.folder, every) == []
    (first, *_) = sorted((run.folder / CALLS).iterdir())
    text = read_record(first).request.messages[1].content
    assert all(hint.text.rstrip("\n") in text for hint in run.task.hints)

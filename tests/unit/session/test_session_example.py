"""The example client of the guide works from the start to a winner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from python_file import load_file

pytest.importorskip("mcp")

import anyio
from fake_search import outcome
from fake_session import begin, fake_parts, fake_task
from mcp import Client

from kit.agent.node import EvaluationOutcome, EvaluationStatus
from kit.core.facts import facts_root
from kit.session.opening import open_session
from kit.session.server import THREADS, make_server

EXAMPLE = Path(__file__).parents[3] / "docs" / "guides" / "example_session.py"


def example() -> ModuleType:
    return load_file("example_session", EXAMPLE)


def judge(run_id: str, content: str) -> EvaluationOutcome:
    return outcome(run_id, EvaluationStatus.REACHED, 700.0 if "q @ k.mT" in content else 1000.0)


def test_the_example_corrects_its_crash_and_wins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = (facts_root() / "records" / "smoke" / "1" / "train_gpt2.py").read_bytes()
    folder = tmp_path / "session"
    parts = replace(fake_parts(folder), task=fake_task(folder, judge=judge, start=start))
    begin(tmp_path, parts=parts)

    async def main() -> dict[str, object]:
        async with Client(make_server(session, anyio.CapacityLimiter(THREADS))) as client:
            done: dict[str, object] = await example().run(client)
            return done

    with open_session(folder, parts) as session:
        done = anyio.run(main)
        assert (done["status"], done["recovered"]) == ("valid_improved", 0.75)
        assert session.ledger.tree.winner() == 1 and len(session.ledger.tries) == 2
    assert capsys.readouterr().out == "try: failed\ntry: bound\n"
    assert len(EXAMPLE.read_text().splitlines()) <= 65

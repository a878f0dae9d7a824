"""A session with real guests: the example client of the guide on smoke-1, from start to winner."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from python_file import load_file

pytest.importorskip("mcp")

import anyio
from conftest import left_of, wait_until
from mcp import Client, StdioServerParameters

from kit.agent import retiming
from kit.agent.journal import JOURNAL, read_journal
from kit.agent.retiming import retimed_of
from kit.agent.tool_events import TryEnded, TryLost, TryStatus
from kit.cli import run
from kit.core.facts import facts_root
from kit.evaluate.audits import AuditSelection
from kit.result.keys import Trusted, load_or_create
from kit.series.figures import open_series
from kit.series.record import Arm
from kit.session.recorded import read_session
from kit.session.verify import verify_session

pytestmark = [pytest.mark.container, pytest.mark.network]
EXAMPLE = Path(__file__).parents[2] / "docs" / "guides" / "example_session.py"
PATIENT = ("--start-deadline", "15m", "--warmup-deadline", "15m", "--stall-deadline", "15m",
           "--teardown-deadline", "5m", "--total-deadline", "50m")  # fmt: skip
"""Deadlines for a machine that other programs keep busy."""


def example() -> ModuleType:
    return load_file("example_session", EXAMPLE)


def new_session(folder: Path, keys: Path, budget: str, task: str = "smoke-1", *more: str) -> None:
    argv = ["--task", task, "--budget", budget, "--out", str(folder), "--keys", str(keys), *PATIENT]
    assert run(["session", "new", *argv, "--runtime", "runc", *more]) == 0


def test_a_killed_server_leaves_no_guest_and_its_try_is_charged_at_its_worst_case(
    cpu_image: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, keys = tmp_path / "session", tmp_path / "keys"
    new_session(folder, keys, "wall=10h")
    command = [sys.executable, "-m", "kit.cli", "session", "try", str(folder), "--seconds", "3000"]
    log = folder / "tries" / "001" / "guest.log"
    with subprocess.Popen([*command, "--keys", str(keys)], start_new_session=True) as server:
        try:
            assert wait_until(lambda: log.is_file() and b"step:" in log.read_bytes(), 3000)
            (reserved,) = read_session(folder).tries
            assert left_of(reserved[0].run_id) != []
        finally:
            server.kill()
    assert wait_until(lambda: left_of(reserved[0].run_id) == [], 120), "the watchdog ended nothing"
    capsys.readouterr()
    assert run(["session", "budget", str(folder), "--keys", str(keys), "--json"]) == 0
    charged = json.loads(capsys.readouterr().out)["charged"]
    assert charged["wall_s"] >= 3000
    ((_, ended),) = read_session(folder).tries
    assert isinstance(ended, TryLost) and ended.wall_s == 3000
    assert verify_session(folder, Trusted(())).faults == ()


def test_the_example_client_works_from_start_to_winner(cpu_image: None, tmp_path: Path) -> None:
    folder, keys = tmp_path / "session", tmp_path / "keys"
    new_session(folder, keys, "wall=10h,evaluations=1")
    argv = ["-m", "kit.cli", "session", "serve", str(folder), "--stdio", "--keys", str(keys)]
    done: dict[str, Any] = {}

    async def main() -> None:
        async with Client(StdioServerParameters(command=sys.executable, args=argv)) as client:
            done.update(await example().run(client))
            refused = await client.call_tool("evaluate", {})
            assert refused.is_error, "the budget has one evaluation"

    anyio.run(main)
    assert done["valid"] is True, done
    tries = [e for e in read_journal(folder / JOURNAL).events if isinstance(e, TryEnded)]
    assert [e.status for e in tries] == [TryStatus.FAILED, TryStatus.BOUND]
    assert tries[1].step is not None and tries[1].step >= 5 and tries[1].wall_s > 0
    assert run(["session", "end", str(folder), "--retime", "1", "--keys", str(keys)]) == 0
    retimed = retimed_of(folder)
    assert retimed is not None and retimed.runs == 1
    check = verify_session(folder, Trusted((load_or_create(keys).public,)))
    assert (check.faults, check.unnamed, check.trusted) == ((), (), True)
    assert len(read_session(folder).calls) >= 9
    assert run(["agent", "verify", str(folder), "--keys", str(keys)]) == 0


def test_a_horizon_is_scored_in_a_series_of_all_three_scripts(
    cpu_image: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From smoke-2 to smoke-4; the script of smoke-3 wins. Without audits, which no interleaving changes."""
    folder, keys = tmp_path / "session", tmp_path / "keys"
    new_session(folder, keys, "wall=10h", "smoke-2", "--horizon", "smoke-4")
    shutil.copy(facts_root() / "records" / "smoke" / "3" / "train_gpt2.py", folder / "workspace")
    argv = [str(folder), "--keys", str(keys)]
    assert run(["session", "evaluate", *argv]) == 0
    before = read_session(folder).run.spent.charged.wall_s
    monkeypatch.setattr(retiming, "select_audits", lambda names: AuditSelection())
    capsys.readouterr()
    assert run(["session", "end", *argv, "--retime", "2", "--interleave", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    session = read_session(folder)
    assert session.run.retimed is not None and session.run.retimed.runs == 2
    assert session.run.spent.charged.wall_s < before + 600, "the series is not charged to the session"
    figures = open_series(
        folder / "bundles" / session.run.retimed.series, Trusted(()), facts_root() / "records"
    )
    assert [(arm.arm, arm.reserved, arm.counted) for arm in figures.arms] == [(arm, 2, 2) for arm in Arm]
    scripts = {m.slot.arm: m.bundle.predicate.task.id for m in figures.members if m.bundle}
    assert figures.body.plan.horizon == "smoke-4" and len(scripts) == 3
    assert figures.ratio is not None and told["series"]["resolved"] is figures.ratio.resolved
    if figures.ratio.resolved and session.run.retimed.reached == 2:
        assert told["recovered"] == told["series"]["recovered"] == figures.ratio.estimate
        assert told["series"]["low"] < told["recovered"] < told["series"]["high"]
    else:
        assert told["recovered"] is None, "no score, not one by the times of other machines"
    assert run(["session", "show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "score of the series:" in shown and "smoke-3" in shown
    check = verify_session(folder, Trusted((load_or_create(keys).public,)))
    assert (check.faults, check.unnamed, check.trusted) == ((), (), True)
    (tmp_path / "board" / "submissions").mkdir(parents=True)
    board = [str(tmp_path / "board"), "--agents", str(folder), "--out", str(tmp_path / "site")]
    assert run(["report", *board, "--keys", str(keys)]) == 0
    assert "smoke-2 to smoke-4" in (tmp_path / "site" / "index.html").read_text()

"""The MCP SDK's own client against the server: stdio, a socket, kills, and hostile clients."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("mcp")

import anyio
from fake_session import GPUS, begin, fake_parts, opened, write_script
from hostile_client import attack
from mcp import Client, MCPError
from session_server import ASSETS, _environment, server_parameters, socket_transport

from kit.agent.journal import JOURNAL, LOCK, read_journal
from kit.agent.recorded import read_run
from kit.agent.tool_events import ToolCalled, TryEnded, TryLost, TryReserved, TryStatus
from kit.agent.verify import verify_run
from kit.cli import run as speedrun
from kit.cli.session import serve
from kit.core.errors import PrerequisiteError, UsageError
from kit.core.locks import held
from kit.result.keys import Trusted, load_or_create
from kit.session.messages import MAX_LINE
from kit.session.opening import end_session, sign_session
from kit.session.server import serve_socket
from kit.session.tools import TOOLS

DEADLINE_S = 300.0


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    values: dict[str, Any] = result.structured_content or {}
    return {**values, "is_error": result.is_error}


async def from_start_to_winner(client: Client) -> None:
    """Use every tool once, and make two evaluations."""
    assert {tool.name for tool in (await client.list_tools()).tools} == set(TOOLS)
    assert "Make it faster." in (await call(client, "brief"))["text"]
    assert (await call(client, "list"))["files"][0]["path"] == "train_gpt2.py"
    text = (await call(client, "read", path="train_gpt2.py"))["text"]
    await call(client, "write", path="train_gpt2.py", content=text + "# fast\n")
    await call(client, "write", path="notes.txt", content="mine")
    await call(client, "delete", path="notes.txt")
    assert (await call(client, "check"))["faults"] == []
    assert (await call(client, "try", steps=3, gpus=1))["status"] == "bound"
    assert (await call(client, "evaluate"))["recovered"] == 0.25
    await call(client, "write", path="train_gpt2.py", content=text + "# fast fast\n")
    assert (await call(client, "evaluate", parent=1))["status"] == "valid_improved"
    assert (await call(client, "history"))["fastest"] == 2
    assert (await call(client, "budget"))["charged"]["gpu_hours"] == pytest.approx((2 + 20 * GPUS) / 3600)


@contextmanager
def served(folder: Path, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Serve a session on a socket in a process of its own, from when it answers."""
    argv = [sys.executable, str(ASSETS / "session_server.py"), str(folder), str(path)]
    with subprocess.Popen(argv, env={**os.environ, **_environment({})}) as process:
        try:
            until = time.monotonic() + DEADLINE_S
            while process.poll() is None and time.monotonic() < until and not answers(path):
                time.sleep(0.05)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True


def run(main: Any, *arguments: Any) -> None:
    """Run a coroutine, for at most `DEADLINE_S`."""

    async def bounded() -> None:
        with anyio.fail_after(DEADLINE_S):
            await main(*arguments)

    anyio.run(bounded)


def test_a_client_that_reads_no_stderr_cannot_stop_the_server_with_malformed_messages(tmp_path: Path) -> None:
    argv = [sys.executable, str(ASSETS / "session_server.py"), str(begin(tmp_path))]
    notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": [1]}}
    asked = {"jsonrpc": "2.0", "id": 7, "method": "ping"}
    lines = "".join(json.dumps(message) + "\n" for message in [*[notice] * 1500, asked])
    pipe = subprocess.PIPE
    environment = {**os.environ, **_environment({})}
    with subprocess.Popen(argv, env=environment, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        kill = threading.Timer(DEADLINE_S, process.kill)
        kill.start()
        with suppress(BrokenPipeError):
            process.stdin.write(lines.encode())
            process.stdin.flush()
        answer = process.stdout.readline()
        process.stdin.close()
        kill.cancel()
        assert json.loads(answer or "{}").get("id") == 7
        assert b"malformed" not in process.stderr.read()


def test_the_whole_way_over_stdio_and_the_session_verifies(tmp_path: Path) -> None:
    folder = begin(tmp_path)

    async def main() -> None:
        async with Client(server_parameters(folder)) as client:
            await from_start_to_winner(client)

    run(main)
    calls = [e for e in read_journal(folder / JOURNAL).events if isinstance(e, ToolCalled)]
    assert len(calls) == 13 and all(e.refused is None for e in calls)
    assert held(folder / LOCK) is False
    keys = tmp_path / "keys"
    assert end_session(folder, fake_parts(folder)) == 2
    sign_session(folder, keys)
    check = verify_run(folder, Trusted((load_or_create(keys).public,)))
    assert [fault for fault in check.faults if "bundle" not in fault] == [], "fakes write no bundles"
    assert check.trusted and check.summary is not None and check.summary.summary.winner is not None


def test_two_clients_at_once_over_a_socket(tmp_path: Path) -> None:
    folder, path = begin(tmp_path), tmp_path / "s.sock"

    async def work(number: int) -> None:
        async with Client(socket_transport(path)) as client:
            for i in range(3):
                name = f"agent{number}_{i}.py"
                assert not (await call(client, "write", path=name, content="x"))["is_error"]
                assert (await call(client, "try", seconds=5))["status"] == "bound"
            assert (await call(client, "evaluate"))["valid"]

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work, 1)
            tasks.start_soon(work, 2)

    with served(folder, path):
        assert path.stat().st_mode & 0o777 == 0o600
        run(main)
    assert not path.exists()
    events = read_journal(folder / JOURNAL).events
    spans = [e for e in events if isinstance(e, TryReserved | TryEnded)]
    assert [type(e) for e in spans] == [TryReserved, TryEnded] * 6, "one guest at a time"
    assert len(read_run(folder).tree.nodes) == 2


def test_a_client_that_vanishes_or_speaks_nonsense_does_not_end_the_server(tmp_path: Path) -> None:
    folder, path = begin(tmp_path), tmp_path / "s.sock"
    nonsense = (b"\xff\xfe\x00 hello\n", b"{}\n", b"[[[[\n", b'{"jsonrpc":"2.0","id":5}\n', b"\n" * 1000,
                b'{"jsonrpc":"2.0","method":"tools/call"}\n', b"x" * 300_000)  # fmt: skip

    async def main() -> None:
        async with Client(socket_transport(path)) as client:
            await from_start_to_winner(client)

    with served(folder, path) as process:
        for text in nonsense:
            with socket.socket(socket.AF_UNIX) as vanishing:
                vanishing.connect(str(path))
                vanishing.sendall(text)
        run(main)
        assert process.poll() is None


def rpc(method: str, number: int | None, **params: Any) -> bytes:
    document = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(document if number is None else {**document, "id": number}).encode() + b"\n"


def test_a_client_that_closes_stdin_ends_the_guest_and_the_server(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    with opened(folder) as session:
        write_script(session, "# wait\n")
    info = {"name": "raw", "version": "1"}
    messages = (
        rpc("initialize", 1, protocolVersion="2025-06-18", capabilities={}, clientInfo=info),
        rpc("notifications/initialized", None),
        rpc("tools/call", 2, name="try", arguments={"gpus": 1}),
    )
    command = [sys.executable, str(ASSETS / "session_server.py"), str(folder)]
    with subprocess.Popen(
        command, env={**os.environ, **_environment({})}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(b"".join(messages))
        server.stdin.flush()
        assert json.loads(server.stdout.readline())["id"] == 1
        until = time.monotonic() + DEADLINE_S
        while b"try_reserved" not in (folder / JOURNAL).read_bytes() and time.monotonic() < until:
            time.sleep(0.05)
        server.stdin.close()
        assert server.wait(DEADLINE_S) == 0
    (ended,) = [e for e in read_journal(folder / JOURNAL).events if isinstance(e, TryEnded)]
    assert (ended.status, ended.gpu_seconds) == (TryStatus.CANCELLED, 2.0)


def test_a_server_whose_stdin_is_no_pipe_ends_at_once(tmp_path: Path) -> None:
    command = [sys.executable, str(ASSETS / "session_server.py"), str(begin(tmp_path))]
    ended = subprocess.run(
        command, env={**os.environ, **_environment({})}, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr.decode()


def test_a_server_that_was_killed_is_started_again_on_the_same_socket(tmp_path: Path) -> None:
    folder, path = begin(tmp_path), tmp_path / "s.sock"

    async def main() -> None:
        async with Client(socket_transport(path)) as client:
            await from_start_to_winner(client)

    with served(folder, path) as process:
        process.kill()
        process.wait(DEADLINE_S)
    assert path.is_socket(), "nobody removed it"
    with served(folder, path):
        run(main)


def test_a_message_of_a_hundred_megabytes_is_answered_and_not_parsed(tmp_path: Path) -> None:
    folder, path = begin(tmp_path), tmp_path / "s.sock"
    head = b'{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"write","arguments":{"content":"'
    with served(folder, path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(head)
        for _ in range(100):
            client.sendall(b"x" * (1 << 20))
        client.sendall(b'"}}}\n')
        client.settimeout(DEADLINE_S)
        answer = json.loads(client.makefile("rb").readline())
    assert answer["id"] == 77 and str(MAX_LINE) in answer["error"]["message"]
    (refused,) = [e for e in read_journal(folder / JOURNAL).events if isinstance(e, ToolCalled)]
    assert refused.refused is not None and read_run(folder).spent.charged.gpu_seconds == 0


TRICKS = (
    "../x.py",
    "/etc/x",
    "a//b",
    "a/./b",
    "~/x",
    "x\r\n.py",
    "\u202ex.py",
    "C:\\x",
    "",
    "con\x07.py",
    ".x",
)


def test_ten_thousand_hostile_calls_cost_nothing_but_refusals(tmp_path: Path) -> None:
    """In this process: the wire is tried above, and here the journal and the workspace."""
    folder = begin(tmp_path, "gpu-hours=0.001,wall=1000h")
    tools = [*TOOLS, "rm", "\x1b[31m", "write\x00"]
    with opened(folder) as session:
        for i in range(10_000):
            tool = tools[i % len(tools)]
            arguments: dict[str, Any] = {"path": TRICKS[i % len(TRICKS)], "content": [i], "steps": -i}
            assert session.call(tool, arguments, "evil\x1b]0;x\x07").is_error, (tool, arguments)
        assert [f["path"] for f in session.call("list", {}, "t").values["files"]] == ["train_gpt2.py"]
        assert session.call("evaluate", {}, "t").is_error and session.call("try", {}, "t").is_error
    recorded = read_run(folder)
    assert recorded.spent.charged.gpu_seconds == 0 and recorded.tree.nodes == ()
    assert (folder / JOURNAL).read_text(encoding="utf-8").isprintable() is False  # line feeds
    assert "\x1b" not in (folder / JOURNAL).read_text(encoding="utf-8")
    assert sorted(p.name for p in (folder / "workspace").iterdir()) == ["train_gpt2.py"]


@pytest.mark.parametrize("over_socket", [False, True])
def test_hostile_calls_over_the_wire_cost_nothing_but_refusals(tmp_path: Path, over_socket: bool) -> None:
    """The measured run: `python hostile_client.py 10000 3 stdio`, and with `socket`."""
    count = 400
    cost = attack(tmp_path, count, 1, over_socket)
    assert (cost.sent, cost.answered, cost.refused) == (count + 1, count + 1, count), "all but the greeting"
    assert cost.gpu_seconds == 0 and cost.workspace == ("train_gpt2.py",)
    assert cost.recorded > count // 2 and cost.journal_bytes < 1000 * count
    journal = (tmp_path / "session" / JOURNAL).read_text(encoding="utf-8")
    assert "\x1b" not in journal and "\u202e" not in journal
    with opened(tmp_path / "session") as session:
        assert not session.call("budget", {}, "t").is_error


def test_a_server_that_is_killed_at_ten_moments_goes_on_with_the_same_totals(tmp_path: Path) -> None:
    whole = begin(tmp_path / "whole")
    killed = begin(tmp_path / "killed")
    moments = [2, 3, 5, 7, 8, 10, 11, 13, 16, 19]

    async def main(folder: Path, **env: str) -> None:
        async with Client(server_parameters(folder, **env)) as client:
            history = await call(client, "history")
            done = len(history["evaluations"])
            for n in range(done, 12):
                await call(client, "write", path="train_gpt2.py", content=f"# {'fast ' * (1 + n % 3)}")
                await call(client, "try", seconds=7, gpus=2)
                await call(client, "evaluate")

    for at in moments:
        with suppress(Exception):
            run(lambda at=at: main(killed, KILL_AT=str(at)))
        before = read_run(killed)
        with opened(killed) as session:  # what the next server does first
            after = session.ledger.spent
        lost = [e for e in read_journal(killed / JOURNAL).events if isinstance(e, TryLost)]
        assert after.known.gpu_seconds == pytest.approx(before.spent.known.gpu_seconds, abs=10 * GPUS)
        assert after.unknown.gpu_seconds >= 14 * len(lost)
        assert read_run(killed).spent == after, "the totals are the journal's"
    run(main, killed)
    run(main, whole)
    one, other = read_run(whole), read_run(killed)
    assert len(other.tree.nodes) == 12 and other.tree.open is None
    events = read_journal(killed / JOURNAL).events
    tries = [e for e in events if isinstance(e, TryReserved)]
    ended = [e for e in events if isinstance(e, TryEnded | TryLost)]
    assert [e.trial for e in tries] == sorted(e.trial for e in ended), "every try has one end"
    valid = [n for n in other.tree.nodes if n.evaluation is not None]
    known = sum(n.evaluation.gpu_seconds for n in valid if n.evaluation)
    known += sum(e.gpu_seconds for e in ended if isinstance(e, TryEnded))
    assert other.spent.known.gpu_seconds == pytest.approx(known)
    assert one.spent.known.gpu_seconds == pytest.approx(12 * (10 * GPUS + 4))


def test_bad_calls_over_the_wire_are_answers_and_not_errors(tmp_path: Path) -> None:
    folder = begin(tmp_path)

    async def main() -> None:
        async with Client(server_parameters(folder)) as client:
            for tool in TOOLS:
                assert (await call(client, tool, nonsense=1))["is_error"], tool
            with suppress(MCPError):
                assert (await call(client, "shell", command="id"))["is_error"]
            assert not (await call(client, "list"))["is_error"]

    run(main)


def test_a_path_that_is_in_use_or_too_long_is_refused(tmp_path: Path) -> None:

    folder = begin(tmp_path)
    (tmp_path / "file").write_text("mine")
    with opened(folder) as session:
        for path in (tmp_path / "file", tmp_path / ("x" * 120)):
            with pytest.raises(UsageError):
                serve_socket(session, path, lambda: True)
    assert (tmp_path / "file").read_text() == "mine"


def test_it_says_that_it_serves_once_clients_can_connect(tmp_path: Path) -> None:
    path, told = tmp_path / "x.sock", []

    def ready() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        told.append(path)

    with opened(begin(tmp_path)) as session:
        serve_socket(session, path, lambda: bool(told), ready)
    assert told == [path] and not path.exists()


def test_a_socket_that_cannot_be_bound_is_not_said_to_be_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begin(tmp_path)
    parts = SimpleNamespace(parts=fake_parts(tmp_path))
    monkeypatch.setattr(serve, "machine_session", lambda *_: parts)
    (tmp_path / "file").write_text("mine")
    assert speedrun(["session", "serve", str(folder), "--socket", str(tmp_path / "file")]) == 2
    assert "serving" not in capsys.readouterr().err


def test_a_socket_in_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match="is no directory"):
        serve_socket(cast(Any, None), tmp_path / "gone" / "x.sock", lambda: True)

"""
A hostile client of a fake session's server: bad messages over the wire, and what they cost.

`python hostile_client.py COUNT LARGE stdio|socket` sends COUNT messages, and LARGE of 100 MB, then prints one
line of figures. The guests are fakes; the server, the journal and its syncs are the real ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fake_session import begin
from session_server import ASSETS, _environment

from kit.agent.journal import JOURNAL, read_journal
from kit.agent.recorded import read_run
from kit.agent.tool_events import ToolCalled

WAIT_S = 600.0
MIB = 1 << 20
PATHS = ("../spec.json", "/etc/passwd", "a//b", "a/./b", "~/x", "x\r\n.py", "\u202ex.py", "C:\\x", "",
         "con\x07.py", ".x", "x" * 400, "a/b/c/d/e/f.py", "\x1b]0;x\x07.py",
         "train_gpt2.py/../../journal.jsonl")  # fmt: skip
TOOLS = (
    "read",
    "write",
    "delete",
    "try",
    "evaluate",
    "check",
    "history",
    "rm -rf /",
    "\x1b[31mbudget",
    "list\x00",
)
BUDGET = "gpu-hours=0.001,wall=1000h"
"""No evaluation and no try of a minute fits."""


@dataclass(frozen=True)
class Figures:
    """What a hostile client cost."""

    sent: int
    answered: int
    refused: int
    seconds: float
    peak_mib: float
    """The largest memory of the server."""
    journal_bytes: int
    recorded: int
    gpu_seconds: float
    workspace: tuple[str, ...]


def arguments_of(i: int) -> dict[str, Any]:
    """Return arguments that no tool takes."""
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    odd: tuple[dict[str, Any], ...] = (
        {"path": PATHS[i % len(PATHS)], "content": [i]},
        {"path": PATHS[i % len(PATHS)], "content": "x", "mode": "0777"},
        {"steps": -i, "seconds": 10**30, "gpus": "8"},
        {"path": deep},
        {"\x1b[2J": "\x00" * 50, "path": 7},
        {"evaluation": 10**9, "trial": True},
        {"path": "a.py", "content": "\ud800", "x": None, "start": "1e400"},
    )
    return odd[i % len(odd)]


def messages(count: int, large: int) -> Iterator[tuple[bytes, bool]]:
    """Yield lines, and whether each one gets an answer with its id or an error without one."""
    info = {"name": "evil\x1b]0;x\x07", "version": "\u202e" * 500}
    yield _line("initialize", 0, protocolVersion="2025-06-18", capabilities={}, clientInfo=info), True
    yield _line("notifications/initialized", None), False
    every = count // (large + 1) + 1
    for i in range(1, count + 1):
        if i % every == 0:
            head = (
                b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"write","arguments":{"a":"'
                % i
            )
            yield head + b"x" * (100 * MIB) + b'"}}}\n', True
        elif i % 97 == 0:
            yield b"\xff\xfe{[nonsense \x00\n", True
        elif i % 89 == 0:
            yield _line("resources/read\x1b", i, uri="file:///etc/passwd"), True
        elif i % 83 == 0:
            yield b"[" * 20_000 + b"\n", True
        else:
            tool = TOOLS[i % len(TOOLS)]
            yield _line("tools/call", i, name=tool, arguments=arguments_of(i)), True


def _line(method: str, number: int | None, **params: Any) -> bytes:
    document = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(document if number is None else {**document, "id": number}).encode() + b"\n"


def attack(folder: Path, count: int, large: int, over_socket: bool, is_synced: bool = False) -> Figures:
    """Begin a session in `folder`, attack its server, end it, and return what that cost."""
    session, path = begin(folder, BUDGET), folder / "s.sock"
    argv = [
        sys.executable,
        str(ASSETS / "session_server.py"),
        str(session),
        *([str(path)] if over_socket else []),
    ]
    pipe = None if over_socket else subprocess.PIPE
    env = {**os.environ, **_environment({"UNSYNCED": ""} if is_synced else {})}
    with subprocess.Popen(argv, env=env, stdin=pipe, stdout=pipe) as server:
        try:
            with contextlib.ExitStack() as held:
                if over_socket:
                    connected = held.enter_context(_connected(path))
                    reading: Any = held.enter_context(connected.makefile("rb"))
                    writing: Any = held.enter_context(connected.makefile("wb"))
                else:
                    reading, writing = server.stdout, server.stdin
                began = time.monotonic()
                sent, answers = _exchange(reading, writing, count, large)
                seconds, peak = time.monotonic() - began, _peak_mib(server.pid)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(WAIT_S)
    spent = read_run(session).spent.charged
    calls = [e for e in read_journal(session / JOURNAL).events if isinstance(e, ToolCalled)]
    refused = sum("error" in a or bool(a.get("result", {}).get("isError")) for a in answers)
    files = tuple(sorted(p.name for p in (session / "workspace").iterdir()))
    size = (session / JOURNAL).stat().st_size
    return Figures(sent, len(answers), refused, seconds, peak, size, len(calls), spent.gpu_seconds, files)


def _connected(path: Path) -> socket.socket:
    until = time.monotonic() + WAIT_S
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return connection


def _exchange(
    reading: IO[bytes], writing: IO[bytes], count: int, large: int
) -> tuple[int, list[dict[str, Any]]]:
    """Send all messages; return how many wait for an answer, and the answers."""
    answers: list[dict[str, Any]] = []
    expected = sum(answered for _, answered in messages(count, 0))

    def read() -> None:
        while len(answers) < expected:
            line = reading.readline()
            if not line:
                return
            answers.append(json.loads(line))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    for line, _ in messages(count, large):
        writing.write(line)
        writing.flush()
    reader.join(WAIT_S)
    return expected, answers


def _peak_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        figures = attack(Path(scratch), int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "socket", True)
        sys.stdout.write(f"{sys.argv[3]}: {figures}\n")

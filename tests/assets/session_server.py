"""
A server process of a fake session, and transports of the MCP SDK's client to it.

`python session_server.py FOLDER` serves the session in FOLDER on stdio; `python session_server.py FOLDER
SOCKET` on a socket. With the variable KILL_AT it kills itself with SIGKILL at that tick: a journal line, or a
guest under way. With UNSYNCED it syncs nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import mcp_types
from fake_search import Ticks, kill_9
from fake_session import fake_parts
from mcp.client.stdio import StdioServerParameters
from mcp.shared.message import SessionMessage

from kit.session.opening import open_session
from kit.session.server import serve_socket, serve_stdio

ASSETS = Path(__file__).parent


def server_parameters(folder: Path, **env: str) -> StdioServerParameters:
    """Return how to start the server on stdio."""
    return StdioServerParameters(
        command=sys.executable, args=[str(ASSETS / "session_server.py"), str(folder)], env=_environment(env)
    )


def _environment(more: dict[str, str]) -> dict[str, str]:
    return {"PYTHONPATH": f"{ASSETS.parents[1]}{os.pathsep}{ASSETS}", "UNSYNCED": "1", **more}


@asynccontextmanager
async def socket_transport(path: Path) -> AsyncIterator[Any]:
    """Connect the SDK's client to a session's socket."""
    stream = await anyio.connect_unix(path)
    to_session, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, from_session = anyio.create_memory_object_stream[SessionMessage](0)

    async def read() -> None:
        rest = b""
        async with to_session:
            async for data in stream:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                    await to_session.send(SessionMessage(message))

    async def write() -> None:
        async with from_session:
            async for item in from_session:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                await stream.send(text.encode() + b"\n")

    async with stream, anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(write)
        yield incoming, outgoing
        tasks.cancel_scope.cancel()


def main() -> None:
    """Serve the session; SIGTERM stops it in order."""
    folder = Path(sys.argv[1])
    if os.environ.get("UNSYNCED"):
        os.fsync = lambda fd: None  # a killed process leaves what it wrote, synced or not
    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stops.append(number))
    ticks = Ticks(int(os.environ.get("KILL_AT", "-1")), kill_9)

    def now() -> str:
        ticks.tick()
        return datetime.now(UTC).isoformat()

    parts = fake_parts(folder, ticks, cancelled=lambda: bool(stops), now=now)
    with open_session(folder, parts) as session:
        if len(sys.argv) > 2:
            serve_socket(session, Path(sys.argv[2]), lambda: bool(stops))
        else:
            serve_stdio(session, lambda: bool(stops))


if __name__ == "__main__":
    main()
